//! What several targets share. Each target's `//!` says what its input means and what it holds the code to; a panic is a
//! finding.

pub mod sys;
pub mod text;
