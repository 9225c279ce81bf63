//! Endpoints: what clients connect to. Each speaks one protocol to the traits of `session`.

pub mod flight_sql;
pub mod http;
pub mod postgres;
pub mod values;

#[cfg(test)]
mod fuzz;
