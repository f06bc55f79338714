//! Malformed files: each must end in a typed error (or be accepted, where that is right) without a panic, quickly, and
//! without allocating on the strength of a declared size.
//!
//! The cases are generated here, one function a family; those with the number of a row of `malformed/cases.md` make the
//! table `docs/evidence/hostile.md` (`table.rs`), and are tried again through the package in Chromium. `MINKE_HOSTILE` names a folder of further files and folders, each
//! of which must be refused (test `hostile`).

#[path = "hostile/allocations.rs"]
mod allocations;
#[path = "hostile/campaign.rs"]
mod campaign;
#[path = "hostile/config_cases.rs"]
mod config_cases;
#[path = "common/gguf.rs"]
mod gguf;
#[path = "hostile/gguf_cases.rs"]
mod gguf_cases;
#[path = "hostile/guard.rs"]
mod guard;
#[path = "hostile/mutations.rs"]
mod mutations;
#[path = "hostile/safetensors_cases.rs"]
mod safetensors_cases;
mod support;
#[path = "hostile/table.rs"]
mod table;
#[path = "hostile/text_cases.rs"]
mod text_cases;
