//! Writes header blocks field by field, in any representation (RFC 7541, section 6).

use httlib_hpack::{Encoder, EncoderError, EncoderInput};

/// HPACK representation of a literal field.
pub type How = u8;

/// The field is not inserted into the table.
pub const PLAIN: How = 0;
/// The field is inserted into the table.
pub const INSERT: How = Encoder::WITH_INDEXING;
/// The field must never be inserted into any table.
pub const NEVER: How = Encoder::NEVER_INDEXED;
/// The name and the value are in the Huffman code.
pub const HUFFMAN: How = Encoder::HUFFMAN_NAME | Encoder::HUFFMAN_VALUE;

/// Number of entries of the static table. The indexes of the sender's own entries follow.
pub const STATIC: u32 = 61;

/// One field of a header block, or a new size of the HPACK table.
#[derive(Clone, Copy, Debug)]
pub enum Field<'a> {
    /// The index of an entry of the tables.
    Indexed(u32),
    /// A name, given by the index of a table entry with this name, and a value.
    Named(u32, &'a str, How),
    /// A name and a value.
    Literal(&'a str, &'a str, How),
    /// A new size of the HPACK table.
    Resize(u32),
    /// A name and a value, in the representation that the encoder finds best: by the indexes of table entries, if there
    /// are any, else in the Huffman code. A field without an entry is inserted into the table.
    Best(&'a str, &'a str),
}

/// A sender of header blocks, with its HPACK table.
#[derive(Debug)]
pub struct Sender(Encoder<'static>);

impl Sender {
    /// Returns a sender with an empty HPACK table.
    pub fn new() -> Self {
        Self(Encoder::default())
    }

    /// Returns a header block with these fields.
    pub fn block(&mut self, fields: &[Field<'_>]) -> Vec<u8> {
        let mut block = Vec::new();
        for field in fields {
            self.write(*field, &mut block)
                .unwrap_or_else(|error| panic!("{field:?}: {error:?}"));
        }
        block
    }

    /// Adds a field to a block.
    ///
    /// # Errors
    /// Fails if the field names an entry that is not in the table. In this case nothing is added.
    pub fn write(&mut self, field: Field<'_>, block: &mut Vec<u8>) -> Result<(), EncoderError> {
        let literal =
            |name: &str, value: &str, how| EncoderInput::Literal(name.into(), value.into(), how);
        let input = match field {
            Field::Indexed(index) => EncoderInput::Indexed(index),
            Field::Named(index, value, how) => EncoderInput::IndexedName(index, value.into(), how),
            Field::Literal(name, value, how) => literal(name, value, how),
            Field::Best(name, value) => {
                literal(name, value, Encoder::BEST_FORMAT | INSERT | HUFFMAN)
            }
            Field::Resize(size) => return self.0.update_max_dynamic_size(size, block),
        };
        self.0.encode(input, block)
    }
}

impl Default for Sender {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns a header block with these fields, the first block of a new sender.
pub fn block(fields: &[Field<'_>]) -> Vec<u8> {
    Sender::new().block(fields)
}
