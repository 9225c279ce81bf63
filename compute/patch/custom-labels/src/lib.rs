//! Stand-in for the `custom-labels` crate that `vortex-io` uses to tag its tasks for an external profiler.
//!
//! The published crate builds C++ and runs bindgen, which a fresh machine with a Rust toolchain and a C compiler
//! cannot do. Slipher does not attach that profiler, so every label operation here passes its work through unchanged.

/// The set of labels of the current thread: always empty.
#[derive(Debug, Default)]
pub struct Labelset;

impl Labelset {
    /// The labels of the current thread.
    pub fn clone_from_current() -> Self {
        Self
    }

    /// Runs `work` under these labels and returns what it returns.
    pub fn enter<Output>(&mut self, work: impl FnOnce() -> Output) -> Output {
        work()
    }
}

/// Labels for futures.
pub mod asynchronous {
    /// Lets a future keep the labels of the task that made it.
    pub trait Label: Sized {
        /// The future itself, as there are no labels to keep.
        fn with_current_labels(self) -> Self {
            self
        }
    }

    impl<F: Future> Label for F {}
}
