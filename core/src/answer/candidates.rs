//! The members of a JSON answer that may hold the JWT.

use super::error::AnswerError;
use crate::json::Value;

/// Finds the first of them, in the operator's order, that is a non-empty string.
pub(super) struct Candidates<'a> {
    /// One of them is there twice, whatever it holds.
    pub(super) repeated: bool,
    seen: u32,
    first: Option<(usize, &'a [u8])>,
    no_room: bool,
    /// For strings that have escapes in the text.
    room: &'a mut [u8],
}

impl<'a> Candidates<'a> {
    /// `room` as long as the text suffices: a string is never longer than it is in the text.
    pub(super) fn new(room: &'a mut [u8]) -> Self {
        Self { repeated: false, seen: 0, first: None, no_room: false, room }
    }

    /// Notes the member whose name is the `index`th of the operator's.
    pub(super) fn note(&mut self, index: usize, value: &Value<'a, '_>) {
        let bit = 1 << index;
        self.repeated |= self.seen & bit != 0;
        self.seen |= bit;
        if self.first.is_some_and(|(first, _)| first < index) {
            return;
        }
        let text = match value {
            Value::Text(text) => text.as_bytes(),
            Value::Unescaped(text) => self.keep(text.as_bytes()),
            _ => return,
        };
        if !text.is_empty() {
            self.first = Some((index, text));
        }
    }

    /// The JWT, if there is any.
    ///
    /// # Errors
    /// [`AnswerError::Scratch`] if the room was too small.
    pub(super) fn first(&self) -> Result<Option<&'a [u8]>, AnswerError> {
        if self.no_room {
            return Err(AnswerError::Scratch);
        }
        Ok(self.first.map(|(_, text)| text))
    }

    fn keep(&mut self, text: &[u8]) -> &'a [u8] {
        let room = core::mem::take(&mut self.room);
        let Some((kept, rest)) = room.split_at_mut_checked(text.len()) else {
            self.no_room = true;
            return &[];
        };
        self.room = rest;
        kept.copy_from_slice(text);
        kept
    }
}
