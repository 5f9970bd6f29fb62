//! Broadcast frames seen lately. Everyone gets the same bytes, so they are parsed once per worker and recognised after
//! that by comparing memory. Owned by one worker.

use c2m_protocol::frame::{self, Data, OpCode};
use c2m_protocol::stamp::Stamp;

/// Frames remembered: a slow server has several broadcasts on the way at once.
const FRAMES: usize = 4;

/// A broadcast that was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Length of its frame in bytes.
    pub frame_bytes: usize,
    /// Sequence in the plan.
    pub sequence: u32,
    /// When it was sent.
    pub sent_ns: u64,
}

#[derive(Debug, Default)]
struct Remembered {
    frame: Vec<u8>,
    text_at: usize,
    sequence: u32,
    sent_ns: u64,
}

/// The frames of the last few broadcasts of the plan.
#[derive(Debug, Default)]
pub struct FrameCache {
    frames: [Remembered; FRAMES],
    /// The one that was recognised or remembered last: most likely the next one too.
    last: usize,
}

impl FrameCache {
    /// The broadcast whose frame `input` begins with.
    #[inline]
    pub fn recognise(&mut self, input: &[u8]) -> Option<Known> {
        self.find(|remembered| input.starts_with(&remembered.frame))
    }

    /// The broadcast with this message text, for a frame that came in pieces.
    pub fn recognise_text(&mut self, text: &str) -> Option<Known> {
        self.find(|remembered| remembered.frame[remembered.text_at..] == *text.as_bytes())
    }

    /// Remembers a broadcast's message in place of the oldest.
    pub fn remember(&mut self, text: &str, stamp: &Stamp) {
        self.last = (self.last + 1) % FRAMES;
        let remembered = &mut self.frames[self.last];
        remembered.frame.clear();
        frame::encode(&mut remembered.frame, OpCode::Data(Data::Text), text.as_bytes(), None);
        remembered.text_at = remembered.frame.len() - text.len();
        (remembered.sequence, remembered.sent_ns) = (stamp.sequence, stamp.sent_ns);
    }

    #[inline]
    fn find(&mut self, is_it: impl Fn(&Remembered) -> bool) -> Option<Known> {
        let is_known = |at: &usize| !self.frames[*at].frame.is_empty() && is_it(&self.frames[*at]);
        let at = if is_known(&self.last) { self.last } else { (0..FRAMES).find(is_known)? };
        self.last = at;
        let Remembered { frame, sequence, sent_ns, .. } = &self.frames[at];
        Some(Known { frame_bytes: frame.len(), sequence: *sequence, sent_ns: *sent_ns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(sequence: u32) -> (String, Stamp) {
        let stamp = Stamp { sequence, due_ns: 5, sent_ns: 6 };
        let mut payload = Vec::new();
        stamp.encode(&mut payload, 200);
        (format!("[null,null,\"t\",\"new:msg\",{}]", String::from_utf8(payload).unwrap()), stamp)
    }

    fn frame_of(text: &str) -> Vec<u8> {
        let mut frame = Vec::new();
        frame::encode(&mut frame, OpCode::Data(Data::Text), text.as_bytes(), None);
        frame
    }

    #[test]
    fn remembered_frames_are_recognised_back_to_back_and_others_are_not() {
        let mut cache = FrameCache::default();
        assert_eq!(cache.recognise(&[]), None);
        let texts: Vec<_> = (0..6).map(text).collect();
        for (text, stamp) in &texts {
            cache.remember(text, stamp);
        }
        let input = [frame_of(&texts[5].0), frame_of(&texts[2].0), frame_of(&texts[1].0)].concat();
        let first = cache.recognise(&input).unwrap();
        assert_eq!((first.sequence, first.sent_ns), (5, 6));
        let rest = &input[first.frame_bytes..];
        let second = cache.recognise(rest).unwrap();
        assert_eq!(second.sequence, 2);
        assert_eq!(cache.recognise(&rest[second.frame_bytes..]), None, "forgotten");
        assert_eq!(cache.recognise(&input[..first.frame_bytes - 1]), None, "a cut frame is not a whole one");
        assert_eq!(cache.recognise_text(&texts[4].0).unwrap().sequence, 4);
        assert_eq!(cache.recognise_text(&texts[0].0), None);
    }
}
