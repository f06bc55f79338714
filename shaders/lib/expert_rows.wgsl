// Where the rows of an expert's second matrix lie. What every token goes to may be as wide as several experts: then its
// rows, cut to the width of one, are the first `spread` slots, row r of slot s at r · spread + s.
fn expert_row(slot: u32, row: u32) -> u32 {
    return select(slot * params.rows + row, row * params.spread + slot, slot < params.spread);
}
