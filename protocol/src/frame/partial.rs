//! What a connection in the middle of a frame or a fragmented message owns. Belongs to its connection, and is touched
//! only by the decoder, on the thread that reads the connection.

use super::encode::MAX_HEADER_BYTES;
use super::{Data, FrameError, OpCode, mask};

/// A frame whose header was read and found right.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) opcode: OpCode,
    pub(super) mask: Option<[u8; 4]>,
    pub(super) payload_bytes: usize,
    is_final: bool,
    received_bytes: usize,
}

impl Frame {
    pub(super) fn new(opcode: OpCode, is_final: bool, mask: Option<[u8; 4]>, payload_bytes: usize) -> Self {
        Self { opcode, mask, payload_bytes, is_final, received_bytes: 0 }
    }

    /// Whether this frame alone makes an event: a control frame or an unfragmented message.
    pub(super) fn stands_alone(&self) -> bool {
        self.is_final && self.opcode != OpCode::Data(Data::Continue)
    }

    fn is_control(&self) -> bool {
        matches!(self.opcode, OpCode::Control(_))
    }
}

/// What a connection in the middle of a frame or message owns: at rest there is none.
///
/// It grows with the bytes that came, by doubling, never beyond what the current frame announced, so a peer that
/// announces much and sends little costs little.
#[derive(Debug, Default)]
pub struct Partial {
    /// The first bytes of a header that was cut.
    header: [u8; MAX_HEADER_BYTES],
    header_bytes: u8,
    /// The frame whose payload is arriving.
    frame: Option<Frame>,
    /// Text or Binary while a message is being put together.
    message: Option<Data>,
    /// Payload of that message, unmasked.
    data: Vec<u8>,
    /// How much of `data` is known to be whole UTF-8 characters (text only).
    checked_bytes: usize,
    /// Payload of a cut control frame, unmasked.
    control: Vec<u8>,
    /// The frame that was finished last completed what is held of `data` or `control`.
    delivered: Option<OpCode>,
}

impl Partial {
    /// Memory this owns in bytes, itself included.
    pub fn allocated_bytes(&self) -> usize {
        size_of::<Self>() + self.data.capacity() + self.control.capacity()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.header_bytes == 0 && self.frame.is_none() && self.message.is_none()
    }

    pub(super) fn is_inside_header(&self) -> bool {
        self.header_bytes > 0
    }

    pub(super) fn is_inside_frame(&self) -> bool {
        self.frame.is_some()
    }

    pub(super) fn is_inside_message(&self) -> bool {
        self.message.is_some()
    }

    /// Bytes held of the message that is being put together.
    pub(super) fn message_bytes(&self) -> usize {
        self.data.len()
    }

    pub(super) fn header_bytes(&self) -> usize {
        usize::from(self.header_bytes)
    }

    /// Copies the front of `input` behind the held header bytes and gives all of them. They stay held until
    /// [`Self::clear_header`].
    pub(super) fn extend_header(&mut self, input: &[u8]) -> &[u8] {
        let held = self.header_bytes();
        let end = MAX_HEADER_BYTES.min(held + input.len());
        self.header[held..end].copy_from_slice(&input[..end - held]);
        self.header_bytes = end as u8;
        &self.header[..end]
    }

    pub(super) fn clear_header(&mut self) {
        self.header_bytes = 0;
    }

    pub(super) fn begin_frame(&mut self, frame: Frame) {
        if let OpCode::Data(kind @ (Data::Text | Data::Binary)) = frame.opcode {
            self.message = Some(kind);
        }
        self.frame = Some(frame);
    }

    /// Moves what `input` has of the current frame's payload in, unmasked, and gives the number of bytes taken. Errors:
    /// the text can no longer become UTF-8.
    pub(super) fn take_payload(&mut self, input: &[u8], max_message_bytes: usize) -> Result<usize, FrameError> {
        let Some(frame) = &mut self.frame else {
            return Ok(0);
        };
        let missing = frame.payload_bytes - frame.received_bytes;
        let taken = missing.min(input.len());
        let is_control = frame.is_control();
        let buffer = if is_control { &mut self.control } else { &mut self.data };
        let start = buffer.len();
        // A message in several frames may grow to the limit; one in its last frame to what that frame still brings.
        let most = if frame.is_final { start + missing } else { max_message_bytes };
        reserve_bounded(buffer, taken, most);
        buffer.extend_from_slice(&input[..taken]);
        if let Some(mask) = frame.mask {
            mask::apply(&mut buffer[start..], mask, frame.received_bytes as u64);
        }
        frame.received_bytes += taken;
        if !is_control && self.message == Some(Data::Text) {
            self.check_text()?;
        }
        Ok(taken)
    }

    /// When the current frame is complete: what to deliver, or a Continue where the message goes on.
    pub(super) fn finish_frame(&mut self) -> Option<(OpCode, &[u8])> {
        let frame = self.frame.take_if(|frame| frame.received_bytes == frame.payload_bytes)?;
        if frame.is_control() {
            self.delivered = Some(frame.opcode);
            return Some((frame.opcode, &self.control));
        }
        match self.message {
            Some(kind) if frame.is_final => {
                self.delivered = Some(OpCode::Data(kind));
                Some((OpCode::Data(kind), &self.data))
            }
            _ => Some((OpCode::Data(Data::Continue), &[])),
        }
    }

    /// Forgets what [`Self::finish_frame`] gave out.
    pub(super) fn release_delivered(&mut self) {
        match self.delivered.take() {
            Some(OpCode::Control(_)) => self.control = Vec::new(),
            Some(OpCode::Data(_)) => {
                self.message = None;
                self.data = Vec::new();
                self.checked_bytes = 0;
            }
            None => {}
        }
    }

    fn check_text(&mut self) -> Result<(), FrameError> {
        match str::from_utf8(&self.data[self.checked_bytes..]) {
            Ok(_) => self.checked_bytes = self.data.len(),
            Err(error) if error.error_len().is_some() => return Err(FrameError::Utf8),
            Err(error) => self.checked_bytes += error.valid_up_to(),
        }
        Ok(())
    }
}

/// Makes room for `more` bytes: at least doubles, so that copying stays linear, yet never beyond `most`.
fn reserve_bounded(buffer: &mut Vec<u8>, more: usize, most: usize) {
    let needed = buffer.len() + more;
    if needed > buffer.capacity() {
        let target = (buffer.capacity() * 2).min(most).max(needed);
        buffer.reserve_exact(target - buffer.len());
    }
}
