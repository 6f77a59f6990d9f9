//! The configuration as the module reads it at run time: what the directives came to.

mod agreement;
pub(crate) mod choice;
mod conclude;
mod documents;
mod fault;
mod http;
mod location;
pub(crate) mod merge;
pub(crate) mod policy;
mod position;
mod publish;
mod resource;
mod server;
mod value;

pub(crate) use http::{MainConf, create_main, declare_proof_zone, main_conf, max_introspections};
pub(crate) use location::{LocationConf, UNSET, UNSET_NUMBER, core_location, create_location};
pub(crate) use position::Position;
pub(crate) use publish::{expect_documents, publish};
pub(crate) use server::{ServerConf, create_server, set_identity};
pub(crate) use value::{Carrier, DpopNonce, Exchange, Parameter, SetHeader, TokenSource};
