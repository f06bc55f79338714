// Where the rows of an expert's second matrix lie. The shared expert may be as wide as several experts: then its rows, cut to
// the width of one, are interleaved in the first `interleaved` slots: row r of slot s at r · interleaved + s.
fn expert_row(slot: u32, row: u32) -> u32 {
    return select(slot * params.rows + row, row * params.interleaved + slot, slot < params.interleaved);
}
