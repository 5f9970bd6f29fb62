//! Input: one text message of serializer 1.0.0. What it is held to: [`c2m_fuzz::text::check`].

#![no_main]

use c2m_protocol::phoenix::Serializer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| c2m_fuzz::text::check(Serializer::V1, data));
