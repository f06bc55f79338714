//! Counts the vector instructions of a loop in the listing of Mesa's compiler for AMD (ACO).

use std::collections::BTreeMap;

/// How a product's main loop is counted.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// What a round of the loop makes.
    pub unit: u64,
    /// Rounds of inner loops that write workgroup memory.
    pub writes: u64,
    /// Rounds of inner loops that read it.
    pub reads: u64,
}

/// Where a loop's blocks are among all blocks, both ends included.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Loop {
    first: usize,
    last: usize,
}

impl Loop {
    fn within(self, other: Self) -> bool {
        self != other && other.first <= self.first && self.last <= other.last
    }
}

fn blocks(listing: &str) -> Vec<(&str, Vec<&str>)> {
    let mut blocks: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in listing.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|name| name.starts_with("BB")) {
            blocks.push((name, Vec::new()));
        } else if let Some((_, lines)) = blocks.last_mut() {
            lines.extend(Some(line.split(';').next().unwrap_or_default().trim()).filter(|line| !line.is_empty()));
        }
    }
    blocks
}

/// A loop ends where a block branches back to its first.
fn loops(blocks: &[(&str, Vec<&str>)]) -> Vec<Loop> {
    let place: BTreeMap<&str, usize> = blocks.iter().enumerate().map(|(i, (name, _))| (*name, i)).collect();
    let mut ends: BTreeMap<usize, usize> = BTreeMap::new();
    for (i, (_, lines)) in blocks.iter().enumerate() {
        for line in lines.iter().filter(|line| line.starts_with("s_cbranch") || line.starts_with("s_branch")) {
            let to = line.split_whitespace().nth(1).and_then(|name| place.get(name));
            if let Some(&to) = to.filter(|to| **to <= i) {
                ends.insert(to, i);
            }
        }
    }
    ends.into_iter().map(|(first, last)| Loop { first, last }).collect()
}

/// Vector instructions of the outermost loop with most of them, by the unit of the work.
pub fn main_loop(listing: &str, work: Work) -> Option<f64> {
    let blocks = blocks(listing);
    let loops = loops(&blocks);
    let outer = loops.iter().filter(|l| !loops.iter().any(|other| l.within(*other)));
    let count = |l: &Loop| {
        let rounds = |block: usize| {
            let inner = loops.iter().filter(|i| i.within(*l) && (i.first..=i.last).contains(&block));
            inner.map(|inner| rounds_of(&blocks[inner.first..=inner.last], work)).product::<u64>()
        };
        let valu = |block: usize| blocks[block].1.iter().filter(|line| line.starts_with("v_")).count() as u64;
        (l.first..=l.last).map(|block| rounds(block) * valu(block)).sum::<u64>()
    };
    outer.map(count).max().map(|most| most as f64 / work.unit as f64)
}

fn rounds_of(blocks: &[(&str, Vec<&str>)], work: Work) -> u64 {
    let has = |names: [&str; 2]| {
        blocks.iter().any(|(_, lines)| lines.iter().any(|line| names.iter().any(|name| line.starts_with(name))))
    };
    if has(["ds_write", "ds_store"]) {
        work.writes
    } else if has(["ds_read", "ds_load"]) {
        work.reads
    } else {
        1
    }
}

#[test]
fn inner_loops_count_as_often_as_they_run() {
    let listing = "BB0:\n\tv_mov_b32 v0, 0 ; 7e000280\nBB1:\n\tv_add_f32 v0, v0, v1\nBB2:\n\tds_read_b128 v[0:3], v4\n\tv_fmac_f32 v0, v1, v2\n\
                   \ts_cbranch_scc1 BB2\nBB3:\n\ts_cbranch_scc0 BB1\nBB4:\n\tv_mov_b32 v1, 0\n\ts_endpgm\n";
    assert_eq!(main_loop(listing, Work { unit: 3, writes: 1, reads: 8 }), Some(3.0));
    assert_eq!(main_loop("BB0:\n\tv_mov_b32 v0, 0\n", Work { unit: 1, writes: 1, reads: 1 }), None);
}
