//! placeholder
#[derive(Clone, PartialEq, prost::Message)]
pub struct RaftMessage {
    #[prost(uint64, optional, tag = "1")]
    pub promise_rem_nanos: Option<u64>,
}
