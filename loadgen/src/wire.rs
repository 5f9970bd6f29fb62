//! Nonces and masks: arbitrary, repeatable numbers, no secrets. Stateless but for [`Masks`], which a thread owns.

/// `SplitMix64`, one step: a well-mixed number for every `state`.
pub(crate) fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The handshake nonce of client `index` (RFC 6455 §4.1). It is computed again to check the answer, so that no client
/// has to keep it.
pub(crate) fn nonce(seed: u64, index: u64) -> [u8; 16] {
    let (high, low) = (mix(seed ^ mix(index)), mix(mix(seed).wrapping_add(index)));
    ((u128::from(high) << 64) | u128::from(low)).to_be_bytes()
}

/// Masks for frames (RFC 6455 §5.3): a new one for each, and never zero, which would mask nothing.
#[derive(Debug)]
pub(crate) struct Masks(u64);

impl Masks {
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    pub(crate) fn next(&mut self) -> [u8; 4] {
        self.0 = self.0.wrapping_add(1);
        ((mix(self.0) as u32) | 1).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn nonces_repeat_for_a_client_and_differ_between_clients_and_seeds() {
        let nonces: HashSet<_> = (0..10_000).flat_map(|index| [nonce(1, index), nonce(2, index)]).collect();
        assert_eq!(nonces.len(), 20_000);
        assert!(nonces.contains(&nonce(2, 77)));
    }

    #[test]
    fn masks_change_and_are_never_zero() {
        let mut masks = Masks::new(3);
        let seen: HashSet<_> = (0..1000).map(|_| masks.next()).collect();
        assert!(seen.len() > 990 && !seen.contains(&[0; 4]));
    }
}
