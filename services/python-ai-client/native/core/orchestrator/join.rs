//! Joining a run: how a worker describes itself.

use std::time::Duration;

use pangea_wire::schema::{
    join_request, message, tensor_spec, MAX_ARITHMETIC_BYTES, MAX_FINGERPRINTS, MAX_PARAMETERS,
    MAX_SOFTWARE_BYTES, MAX_TRAINING_BYTES, MAX_WORKER_NAME_BYTES, PROTOCOL_VERSION,
};
use pangea_wire::{FlatLayout, TensorSpec, WireError};

use crate::error::CoreError;
use crate::link::Received;
use crate::values::{check_hash, DatasetInfo, JoinReply};

/// The orchestrator treats a longer interval as no promise.
const MAX_HEARTBEAT: Duration = Duration::from_secs(3600);
/// A shorter interval would cost more than it tells.
const MIN_HEARTBEAT: Duration = Duration::from_millis(1);

/// The fields of a join request.
#[derive(Clone, Copy, Debug)]
pub struct Join<'a> {
    pub worker_name: &'a str,
    pub software: &'a str,
    /// The trainable parameters and whatever else is added up, in the order of their gradients.
    pub parameters: &'a [TensorSpec],
    /// SHA-256.
    pub parameters_hash: &'a [u8],
    /// The same as `Method::Xxh3Tree`: the run's method is known only from the reply. Empty if it
    /// was not computed, for a run that needs only the other one.
    pub parameters_content_hash: &'a [u8],
    pub step: u64,
    pub dataset: &'a DatasetInfo,
    /// The run id of an earlier connection of this worker; empty on the first.
    pub run_id: &'a str,
    /// Longest silence between two frames of this worker; zero for no promise.
    pub heartbeat: Duration,
    /// How a step changes the parameters, as JSON with sorted keys; equal for all workers of a run.
    pub training: &'a str,
    /// The level that the arithmetic is pinned to; empty where it is not pinned.
    pub arithmetic: &'a str,
    /// Each operator with the hash of what it computes from fixed inputs.
    pub fingerprints: &'a [(String, Vec<u8>)],
}

impl Join<'_> {
    /// Refuses what cannot be sent; returns the layout of the gradients.
    pub(crate) fn check(&self) -> Result<FlatLayout, CoreError> {
        let (name, software) = (self.worker_name.len(), self.software.len());
        at_most("worker_name", "bytes", name, MAX_WORKER_NAME_BYTES)?;
        at_most("software", "bytes", software, MAX_SOFTWARE_BYTES)?;
        let parameters = self.parameters.len();
        at_most("parameters", "tensors", parameters, MAX_PARAMETERS)?;
        at_most("training", "bytes", self.training.len(), MAX_TRAINING_BYTES)?;
        at_most(
            "arithmetic",
            "bytes",
            self.arithmetic.len(),
            MAX_ARITHMETIC_BYTES,
        )?;
        at_most(
            "fingerprints",
            "operators",
            self.fingerprints.len(),
            MAX_FINGERPRINTS,
        )?;
        for (operator, hash) in self.fingerprints {
            check_hash(hash, operator)?;
        }
        check_hash(self.parameters_hash, "parameters_hash")?;
        if !self.parameters_content_hash.is_empty() {
            check_hash(self.parameters_content_hash, "parameters_content_hash")?;
        }
        check_hash(&self.dataset.hash, "dataset.hash")?;
        let sensible = MIN_HEARTBEAT..MAX_HEARTBEAT;
        if !self.heartbeat.is_zero() && !sensible.contains(&self.heartbeat) {
            return Err(CoreError::Argument(format!(
                "a heartbeat each {} s is out of range; pass 0 for no heartbeats, or from 0.001 to less than 3600",
                self.heartbeat.as_secs_f64()
            )));
        }
        FlatLayout::new(self.parameters.iter().cloned())
            .map_err(|error| CoreError::Argument(error.to_string()))
    }

    pub(crate) fn write(&self, mut join: join_request::Builder<'_>) -> Result<(), WireError> {
        join.set_protocol_version(PROTOCOL_VERSION);
        join.set_worker_name(self.worker_name);
        join.set_software(self.software);
        join.set_parameters_hash(self.parameters_hash);
        join.set_parameters_content_hash(self.parameters_content_hash);
        join.set_step(self.step);
        join.set_process_id(std::process::id());
        join.set_run_id(self.run_id);
        join.set_heartbeat_seconds(self.heartbeat.as_secs_f64());
        join.set_training(self.training);
        join.set_arithmetic(self.arithmetic);
        let count = self.fingerprints.len() as u32;
        let mut fingerprints = join.reborrow().init_fingerprints(count);
        for ((operator, hash), index) in self.fingerprints.iter().zip(0..) {
            let mut fingerprint = fingerprints.reborrow().get(index);
            fingerprint.set_operator(operator.as_str());
            fingerprint.set_hash(hash);
        }
        let count = self.parameters.len() as u32;
        write_specs(join.reborrow().init_parameters(count), self.parameters)?;
        self.dataset.write(join.init_dataset())
    }
}

fn at_most(what: &str, unit: &str, asked: usize, limit: u32) -> Result<(), CoreError> {
    if asked > limit as usize {
        let reason = format!("{what} has {asked} {unit}, the limit is {limit}");
        return Err(CoreError::Argument(reason));
    }
    Ok(())
}

fn write_specs(
    mut specs: capnp::struct_list::Builder<'_, tensor_spec::Owned>,
    parameters: &[TensorSpec],
) -> Result<(), WireError> {
    for (parameter, index) in parameters.iter().zip(0..) {
        parameter.write(specs.reborrow().get(index))?;
    }
    Ok(())
}

pub(crate) fn read_join(received: &Received) -> Result<JoinReply, WireError> {
    match received.reader.get_root::<message::Reader<'_>>()?.which() {
        Ok(message::JoinReply(reply)) => JoinReply::read(reply?),
        _ => Err(WireError::MalformedHeader("a join reply without a reply")),
    }
}
