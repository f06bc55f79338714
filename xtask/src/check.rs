//! All checks.
use anyhow::Result;
/// Runs them.
pub fn all() -> Result<()> {
    crate::setup::everything().map(drop)
}
