//! Checks that kernel variants meet the references of the kernels that they replace, on golden cases. It is a separate
//! test binary, because lavapipe keeps memory mappings for every pipeline, and Linux limits a process to 65,530
//! mappings.
#![allow(missing_docs)]

mod common;

use common::golden::{WIDE_CASES, check, compare_with_rounding, f16_tolerance};
use common::{data, load, on_gpu};
use minke::engine::LoadOptions;
use minke::kernels::Variants;
use minke::model::Quantization;

/// A variant that computes in f32 meets the same references.
fn variant_holds(name: &str, variants: Variants) {
    let Some(root) = data("MINKE_GOLDEN", ".cache/golden") else { return };
    for case in WIDE_CASES {
        let folder = root.join("models").join(case);
        for (f32, tolerance) in [(true, 1e-3), (false, f16_tolerance(&folder))] {
            let options = LoadOptions { f32, variants: Some(variants), ..on_gpu() };
            let open = |options| {
                let engine = load(&folder, options)?;
                let steps = engine.plans().all().map(|plan| plan.steps.as_slice()).concat();
                let own = steps.iter().filter(|step| step.shader.id.to_string().starts_with(name)).count();
                assert!(own > 0, "{case}: no variant runs");
                println!("{case}: {own} steps by {name}");
                Ok(engine)
            };
            let worst = check(&folder, case, &open, options, tolerance).unwrap_or_else(|e| panic!("{case}: {e}"));
            println!("{case}: {worst:.1e}");
        }
    }
}

#[test]
fn subgroups_compute_the_same() {
    variant_holds("subgroups/", Variants { subgroups: true, ..Variants::default() });
}

#[test]
fn tiles_of_16_bit_floats_round_as_a_cache_of_them() {
    let variants = Some(Variants { f16: true, ..Variants::default() });
    compare_with_rounding("f16 tiles", &WIDE_CASES, LoadOptions { variants, ..on_gpu() }, None, 1.0);
}

/// Compares the variant for quantised weights with multiplication in f32.
#[test]
fn tiles_of_bytes_compute_the_same() {
    let variants = Some(Variants { int8: true, ..Variants::default() });
    let own = LoadOptions { quantization: Some(Quantization::Q8), ..on_gpu() };
    compare_with_rounding("tiles of bytes", &WIDE_CASES, LoadOptions { variants, ..own }, Some(own), 1.0);
}
