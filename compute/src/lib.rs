//! What a compute node does: it stores segments, scans and writes them, and runs the fragments of plans.

pub mod load;
