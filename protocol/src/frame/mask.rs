//! Masking (RFC 6455 §5.3). Stateless.

/// Masks or unmasks `payload`, whose first byte is byte number `offset` of its frame's payload.
///
/// Works on eight bytes at a time, which the compiler widens further.
pub(super) fn apply(payload: &mut [u8], mut mask: [u8; 4], offset: u64) {
    mask.rotate_left((offset % 4) as usize);
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::apply;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn masking_is_the_xor_of_rfc_6455(payload: Vec<u8>, mask: [u8; 4], offset in 0u64..1 << 40) {
            let expected: Vec<u8> =
                (offset..).zip(&payload).map(|(at, byte)| byte ^ mask[(at % 4) as usize]).collect();
            let mut masked = payload;
            apply(&mut masked, mask, offset);
            prop_assert_eq!(masked, expected);
        }
    }
}
