//! Endpoints: what clients connect to. Each speaks one protocol to the traits of `session`.
