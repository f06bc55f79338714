//! Rows of a weight matrix in a layout, as they are made on the host.

/// The planes of a weight matrix under construction; rows are appended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Planes {
    /// The codes plane, [`Layout::code_row_bytes`](crate::plan::Layout::code_row_bytes) per row.
    pub codes: Vec<u8>,
    /// The scales plane, [`Layout::scale_row_bytes`](crate::plan::Layout::scale_row_bytes) per row.
    pub scales: Vec<u8>,
}
