//! What the core is checked against: each part of the contract once more, plain and slow, and without a line
//! of the core's in it.

pub mod answer;
pub mod base64;
pub mod cache_control;
pub mod certificate;
pub mod challenge;
pub mod claims;
pub mod credentials;
pub mod facts;
pub mod form;
pub mod instant;
pub mod json;
pub mod jwt;
pub mod keys;
pub mod members;
pub mod verification;
