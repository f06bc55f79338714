//! Tests malformed files: each must end in a typed error (or be accepted, if that is right) without a panic, quickly,
//! and without allocations that rely on a declared size.
//!
//! The cases are generated here, one function per family; those that `hostile/rows.txt` lists form
//! the table `docs/evidence/hostile.md` (`table.rs`), and are tried again through the package in Chromium. `MINKE_HOSTILE` names
//! a folder of further files and folders, each of which must be refused (test `hostile`).

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
