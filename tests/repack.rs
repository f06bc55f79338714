//! Compares stored number formats with reference values: `golden/gguf/tensors` has one tensor of every GGUF type, with
//! its values as computed by the `gguf` package.

#[path = "support/skip.rs"]
mod skip;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use minke::Result;
use minke::weights::checkpoint::{Checkpoint, ConfigFacts};
use minke::weights::metadata::GgufValue;
use minke::weights::{
    ByteSource, DiskFile, DiskFolder, Dtype, Planes, dequantize_rows, gguf, layout_for, repack_rows, safetensors,
    through_values,
};
use pollster::block_on;

/// The golden data; without it, the test is skipped.
fn golden() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/golden");
    if path.is_dir() {
        return Some(path);
    }
    skip::skip(".cache/golden", "it is not there");
    None
}

fn accept_any(_: &ConfigFacts) -> Result<()> {
    Ok(())
}

fn f32s(path: &Path, name: &str) -> (Vec<u64>, Vec<f32>) {
    let file = DiskFile::open(path).unwrap();
    let entry = block_on(safetensors::read_header(&file, 0)).unwrap().remove(name).expect("the named tensor");
    assert_eq!(entry.dtype, Dtype::F32);
    let bytes = block_on(file.read(entry.range.clone())).unwrap();
    (entry.shape, bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect())
}

#[test]
fn every_format_gives_the_reference_values() {
    let Some(golden) = golden() else { return };
    let mut formats = BTreeSet::new();
    for file in std::fs::read_dir(golden.join("gguf/tensors")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "gguf") {
            continue;
        }
        let file = DiskFile::open(&path).unwrap();
        let header = block_on(gguf::read_header(&file, 0)).unwrap();
        let entry = &header.tensors["t"];
        let (shape, expected) = f32s(&path.with_extension("safetensors"), "t");
        assert_eq!(entry.shape, shape, "{path:?}");
        let k = entry.k() as usize;
        let bytes = block_on(file.read(entry.range.clone())).unwrap();
        let values = dequantize_rows(entry.dtype, k, &bytes).expect("a reference for every format of the golden data");
        formats.insert(entry.dtype);
        assert!(values.iter().zip(&expected).all(|(a, b)| a == b) && values.len() == expected.len(), "{path:?}");
        let layout = layout_for(entry.dtype).expect("every format of the golden data has a layout");
        let mut planes = Planes::default();
        // In two steps, like a loader that reads blocks of rows.
        let row_bytes = entry.row_bytes().unwrap() as usize;
        repack_rows(entry.dtype, k, &bytes[..row_bytes], &mut planes);
        repack_rows(entry.dtype, k, &bytes[row_bytes..], &mut planes);
        let rows = planes.codes.chunks_exact(layout.code_row_bytes(k));
        let scale_row = layout.scale_row_bytes(k);
        for (row, codes) in rows.enumerate() {
            let values = layout.dequantize_row(k, codes, &planes.scales[row * scale_row..][..scale_row]);
            let expected = &expected[row * k..][..k];
            if through_values(entry.dtype) {
                for (values, expected) in values.chunks(32).zip(expected.chunks(32)) {
                    // The error of rounding the scale to f16, or the values to 1/127 of the largest.
                    let most = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
                    let whole =
                        !matches!(entry.dtype, Dtype::Q2K | Dtype::Iq2Xs | Dtype::Iq2S | Dtype::Iq1M | Dtype::Nvfp4);
                    let normal = most > 4e-3; // the scale is not a subnormal f16
                    let limit = |v: f32| if whole && normal { v.abs() / 1024.0 } else { most / 100.0 };
                    let near = values.iter().zip(expected).all(|(a, b)| (a - b).abs() <= limit(*b) + 6e-8);
                    assert!(near, "{path:?}, row {row}: {values:?} for {expected:?}");
                }
            } else {
                assert_eq!(values, expected, "{path:?}, row {row}");
            }
        }
    }
    assert_eq!(formats.len(), 26, "{formats:?}");
}

#[test]
fn every_metadata_type_is_read() {
    let Some(golden) = golden() else { return };
    let file = DiskFile::open(golden.join("gguf/meta_types.gguf")).unwrap();
    let header = block_on(gguf::read_header(&file, 0)).unwrap();
    let metadata = &header.metadata;
    assert_eq!(metadata.string("test.string").unwrap(), Some("héllo 世界 👩‍👩‍👧\n\"q\""));
    assert_eq!(metadata.get("test.u64"), Some(&GgufValue::U64(9_223_372_036_854_775_813)));
    assert_eq!(metadata.get("test.i64"), Some(&GgufValue::I64(-4_611_686_018_427_387_907)));
    assert_eq!(metadata.get("test.i8"), Some(&GgufValue::I8(-120)));
    assert_eq!(metadata.get("test.i16"), Some(&GgufValue::I16(-32_000)));
    assert_eq!(metadata.float("test.f64").unwrap(), Some(1e-300));
    assert_eq!(metadata.float("test.f32").unwrap(), Some(0.15625));
    assert_eq!(metadata.bool("test.bool_f").unwrap(), Some(false));
    assert_eq!(metadata.strings("test.arr_str").unwrap().unwrap(), ["a", "", "Ġthe", "日本"]);
    assert_eq!(metadata.i32s("test.arr_i32").unwrap().unwrap(), [1, -2, 3]);
    assert_eq!(metadata.f32s("test.arr_f32").unwrap().unwrap(), [0.5, -1.25]);
    for name in ["one_d", "two_d", "experts"] {
        let entry = &header.tensors[name];
        let (shape, expected) = f32s(&golden.join("gguf/meta_types.safetensors"), name);
        assert_eq!(entry.shape, shape);
        let bytes = block_on(file.read(entry.range.clone())).unwrap();
        assert_eq!(dequantize_rows(entry.dtype, entry.k() as usize, &bytes).unwrap(), expected);
    }
}

#[test]
fn golden_folders_open_and_read_by_rows() {
    let Some(golden) = golden() else { return };
    let mut opened = 0;
    for folder in std::fs::read_dir(golden.join("models")).unwrap() {
        let path = folder.unwrap().path();
        let checkpoint = block_on(Checkpoint::open_folder(&DiskFolder::new(&path), &accept_any)).unwrap();
        assert_eq!(checkpoint.warnings, [], "{path:?}");
        assert!(checkpoint.tokenizer_json.is_some() && checkpoint.generation_config.is_some());
        let entry = checkpoint.tensors.values().next().unwrap();
        let all = block_on(checkpoint.read_rows(entry, 0..entry.rows())).unwrap();
        let last = block_on(checkpoint.read_rows(entry, entry.rows() - 1..entry.rows())).unwrap();
        assert_eq!(all.len() as u64, entry.bytes());
        assert!(all.ends_with(&last) && last.len() as u64 == entry.row_bytes().unwrap());
        assert!(block_on(checkpoint.read_rows(entry, 0..entry.rows() + 1)).is_err());
        opened += 1;
    }
    assert!(opened >= 20);
}

#[test]
fn a_split_gguf_equals_the_whole() {
    let Some(golden) = golden() else { return };
    let whole: Rc<dyn ByteSource> = Rc::new(DiskFile::open(golden.join("gguf/qwen2/model.gguf")).unwrap());
    let whole = block_on(Checkpoint::open_gguf(whole, None, &accept_any)).unwrap();
    let folder = DiskFolder::new(golden.join("gguf/qwen2/split"));
    for part in 1..=3 {
        let name = format!("model-0000{part}-of-00003.gguf");
        let split = block_on(Checkpoint::open_gguf_in(&folder, &name, &accept_any)).unwrap();
        assert_eq!(split.shards.len(), 3);
        assert!(split.tensors.keys().eq(whole.tensors.keys()));
        assert_eq!(split.warnings, []);
        for (name, entry) in &split.tensors {
            let other = &whole.tensors[name];
            assert_eq!((entry.dtype, &entry.shape), (other.dtype, &other.shape));
            let bytes = block_on(split.read_rows(entry, 0..entry.rows())).unwrap();
            assert_eq!(bytes, block_on(whole.read_rows(other, 0..other.rows())).unwrap(), "{name}");
        }
    }
}
