//! `minke-constraint`, the package's source of masks, where it is linked into this program. In WebAssembly it is a module of its own.

use std::rc::Rc;

use super::constraint::{Grammars, StartGrammars, Vocabulary};
use crate::Result;

/// Starts the linked source for a vocabulary.
pub(super) fn linked() -> StartGrammars {
    Rc::new(|vocabulary| Box::pin(async move { linked_grammars(&vocabulary) }))
}

/// The linked source of masks, for a vocabulary.
///
/// # Errors
/// [`Error::Constraint`](crate::Error::Constraint) where the vocabulary cannot be used; [`Error::Internal`](crate::Error::Internal) in
/// WebAssembly, where nothing is linked.
#[cfg(target_arch = "wasm32")]
pub fn linked_grammars(_: &Vocabulary) -> Result<Rc<dyn Grammars>> {
    Err(crate::Error::Internal { message: "no source of masks is linked".into() })
}

#[cfg(not(target_arch = "wasm32"))]
pub use native::linked_grammars;

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use super::{Grammars, Rc, Result, Vocabulary};
    use crate::Error;
    use crate::engine::constraint::{Constraint, Matcher};

    struct Linked(minke_constraint::Grammars);

    struct Running(minke_constraint::Matcher);

    fn refused(refusal: minke_constraint::Refusal) -> Error {
        let minke_constraint::Refusal { message, keyword, path } = refusal;
        Error::Constraint { message, keyword, path }
    }

    /// The linked source of masks, for a vocabulary.
    ///
    /// # Errors
    /// [`Error::Constraint`] where the vocabulary cannot be used.
    pub fn linked_grammars(vocabulary: &Vocabulary) -> Result<Rc<dyn Grammars>> {
        let Vocabulary { bytes, lengths, ends } = vocabulary.clone();
        let grammars = minke_constraint::Grammars::new(&minke_constraint::Vocabulary { bytes, lengths, ends });
        Ok(Rc::new(Linked(grammars.map_err(refused)?)))
    }

    impl Grammars for Linked {
        fn compile(&self, constraint: &Constraint) -> Result<Box<dyn Matcher>> {
            let text = serde_json::to_string(constraint).expect("a constraint is JSON");
            Ok(Box::new(Running(self.0.compile(&text).map_err(refused)?)))
        }
    }

    impl Matcher for Running {
        fn mask(&mut self) -> Result<Vec<u32>> {
            self.0.mask().map_err(refused)
        }

        fn consume(&mut self, id: u32) -> Result<()> {
            self.0.consume(id).map_err(refused)
        }

        fn forced(&mut self) -> Vec<u8> {
            self.0.forced()
        }

        fn settled(&mut self, ids: &[u32]) -> usize {
            self.0.settled(ids)
        }

        fn may_end(&mut self) -> bool {
            self.0.may_end()
        }

        fn must_end(&self) -> bool {
            self.0.must_end()
        }
    }
}
