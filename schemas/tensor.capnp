@0xc1f6a0d3b7e94852;
# The contract between all processes of a Pangea run.
#
# A connection carries standard Cap'n Proto stream frames; each frame is one `Message`. The
# connecting side (always a worker) sends requests; the accepting side answers each request, in
# order, on the same connection. A reply echoes the `requestId` of its request. A logical message
# that is too large for one frame is sent as several consecutive frames of the same type and
# `requestId`; the last one has `final = true`. Only a `Heartbeat`, or frames of one `Snapshot`, may
# come between them.
#
# Usage, with the `capnp` tool (prints a captured frame):
#
#     capnp decode --quiet schemas/tensor.capnp Message < frame.bin
#
# Rules for changing this file: fields are only added, at the end; a field that is no longer used is
# renamed `obsoleteX` and stays. An enum value or union member that a reader does not know is an
# `unsupported` error for that one message, never a crash. All hashes are 32 bytes: SHA-256, or the
# content hash where a comment says so. All times are in seconds. All counters start at 0 unless
# their comment says otherwise.

using Go = import "/go.capnp";
$Go.package("tensor");
$Go.import("pangea.example/pangea/schemas/tensor");

const protocolVersion :UInt16 = 3;
# Raised when an old reader could misunderstand a new writer. Additions that an old reader may
# ignore do not raise it. Version 2: the gradient of a step is divided by Aggregate.divisor instead
# of the number of its samples; shards of a small step are merged (RunSettings.minShardSamples).

const maxChunkBytes :UInt32 = 4194304;
# Most tensor bytes (4 MiB) that a service puts into one frame. Larger tensors are sent in several
# pieces. A TrainingBatch is always one frame of at most `maxFrameBytes`; a request for a larger one
# is refused.

const maxFrameBytes :UInt32 = 16777216;
# Largest frame (16 MiB) that a service accepts by default.

# ------------------------------------------------------------------------------------------ limits
# Anything beyond one of these limits is refused with `fixRequest`. Every program takes them from
# here. Texts are measured in bytes of UTF-8.

const maxShards :UInt32 = 1024;             # Shards of a step (RunSettings.shards).
const maxBatchSize :UInt32 = 1048576;       # Samples of a step (RunSettings.batchSize).
const maxParameters :UInt32 = 65536;        # Tensors that are added up in a step (JoinRequest.parameters).
const maxDimensions :UInt32 = 8;            # Dimensions of a tensor.
const maxTensorNameBytes :UInt32 = 1024;    # Tensor.name, TensorSpec.name
const maxWorkerNameBytes :UInt32 = 128;     # JoinRequest.workerName
const maxSoftwareBytes :UInt32 = 256;       # JoinRequest.software
const maxTrainingBytes :UInt32 = 65536;     # JoinRequest.training
const maxArithmeticBytes :UInt32 = 32;      # JoinRequest.arithmetic
const maxFingerprints :UInt32 = 64;         # JoinRequest.fingerprints
const maxOperatorBytes :UInt32 = 64;        # Fingerprint.operator
const maxStopBytes :UInt32 = 1024;          # WorkRequest.stop, ShardReport.stop
const maxBrokenBytes :UInt32 = 4096;        # Leave.broken
const maxFigures :UInt32 = 64;              # ShardReport.figures, WorkRequest.figures
const maxFigureNameBytes :UInt32 = 128;     # Figure.name
const maxRunIdBytes :UInt32 = 256;          # JoinRequest.runId, JoinReply.runId
const maxReasonBytes :UInt32 = 1024;        # Leave.reason
const maxDetailBytes :UInt32 = 8192;        # ErrorReply.detail, GradientAck.detail
const maxDatasetNameBytes :UInt32 = 1024;   # DatasetInfo.name
const maxColumns :UInt32 = 4096;            # DatasetInfo.columns
const maxColumnNameBytes :UInt32 = 256;     # Column.name
const maxClassNames :UInt32 = 4096;         # DatasetInfo.classNames
const maxVocabulary :UInt32 = 256;          # DatasetInfo.vocabulary

# ---------------------------------------------------------------------------- hashes, shared memory

const contentHashBlockBytes :UInt32 = 4194304;
# Bytes (4 MiB) of a tensor under one leaf of the content hash.

enum ContentHash {
  # How the content of tensors is hashed. It detects faulty hardware, nondeterminism and bugs, not
  # people: whatever a person could gain by forging is hashed with SHA-256 in any case.
  sha256 @0;
  # SHA-256 over the bytes of all tensors, one after the other.
  xxh3Tree @1;
  # Each tensor is cut into blocks of `contentHashBlockBytes`, the last of which may be shorter; the
  # leaf of a block is its XXH3-128 with seed 0, as 16 bytes, big-endian. The hash is the SHA-256
  # over "pangea/content/1" and a zero byte, then, for each tensor, its size in bytes as a
  # little-endian UInt64 and its leaves. A tensor without elements has no leaves.
}

struct SharedRegion {
  # Announces memory of the sender, by a descriptor that comes with the first byte of this frame: a
  # memfd with the seals F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE and F_SEAL_SEAL, so that
  # the receiver reads it safely and nobody else can write to it. Only over Unix sockets, in both
  # directions, with requestId 0. Not answered. A region lives until the connection ends. One for
  # gradients may be used once the orchestrator has listed it as `released`, which it never does
  # where it has no room for it: then gradients travel in frames.
  id @0 :UInt32;           # Chosen by the sender; not used before on this connection.
  bytes @1 :UInt64;        # Its size.
}

struct Place {
  # Where in shared memory a message's tensor bytes are, instead of in its frames. Only on a
  # connection over a Unix socket, in a region that was sent on it.
  region @0 :UInt32;       # SharedRegion.id
  generation @1 :UInt64;   # Counts the uses of the region by its owner, from 1.
  bytes @2 :UInt64;        # Used, from `offset` on.
  digest @3 :Data;
  # The content hash (xxh3Tree) of these bytes as one tensor. Empty in a TrainingBatch and in an
  # Aggregate, whose `hash` covers them.
  offset @4 :UInt64;       # Where they start in the region; a multiple of 64.
}

# ------------------------------------------------------------------------------------------ tensors

enum DataType {
  # Element type of a tensor, named as in torch. Elements are little-endian and stored in row-major
  # (C) order.
  unspecified @0;   # Never valid in a tensor: a writer forgot to set the field.
  float32 @1;       # 4 bytes, IEEE 754
  float64 @2;       # 8 bytes, IEEE 754
  bfloat16 @3;      # 2 bytes, the upper half of a float32
  float16 @4;       # 2 bytes, IEEE 754
  int32 @5;         # 4 bytes, two's complement
  int64 @6;         # 8 bytes, two's complement
  uint8 @7;         # 1 byte
  bool @8;          # 1 byte, 0 or 1
  int8 @9;          # 1 byte, two's complement
  int16 @10;        # 2 bytes, two's complement
}

struct Tensor {
  # A dense tensor, or one contiguous piece of it.
  #
  # `data` holds the bytes [byteOffset, byteOffset + len(data)) of the whole tensor. A tensor sent
  # whole has byteOffset = 0 and len(data) = product(shape) * itemsize. A scalar has an empty shape.
  # A tensor with a zero in its shape has no data. At most `maxDimensions` dimensions;
  # product(shape) * itemsize must fit in 63 bits; pieces start and end on element boundaries.
  # Writers put `data` into its own segment, behind a double-far pointer, so that it can be sent
  # from the memory of the tensor; readers must accept it anywhere.

  name @0 :Text;
  # Name in the model's state (as in `named_parameters`); empty if the field's name suffices.
  dtype @1 :DataType;
  shape @2 :List(UInt64);     # Elements per dimension of the whole tensor, outermost first.
  byteOffset @3 :UInt64;      # Where this piece starts, in bytes.
  data @4 :Data;              # Raw little-endian elements. Less than 512 MiB (a limit of Cap'n Proto).
}

struct TensorSpec {
  # Describes a tensor, without its data.
  name @0 :Text;
  dtype @1 :DataType;
  shape @2 :List(UInt64);
}

# ------------------------------------------------------------------------------------- data service

enum Split {
  # Which part of a dataset.
  train @0;      # The samples that are trained on, in the order that (seed, epoch) gives.
  heldOut @1;    # The samples held out for evaluation, always in dataset order.
}

struct DatasetRequest {
  # worker -> data service: asks what is being served. Answered with `DatasetInfo`.
}

struct DatasetInfo {
  name @0 :Text;                  # For example "digits". At most `maxDatasetNameBytes`.
  hash @1 :Data;                  # SHA-256 over the preprocessed samples: equal hashes mean equal data.
  trainSamples @2 :UInt64;        # At least 1.
  heldOutSamples @3 :UInt64;
  classes @4 :UInt32;             # Number of classes; 0 if the labels are not classes.
  features @5 :TensorSpec;        # Of one sample, without the batch dimension.
  labels @6 :TensorSpec;          # Of one sample, without the batch dimension.
  columns @7 :List(Column);
  # Of a table: its feature columns, in order, as they were before preprocessing. At most
  # `maxColumns`; empty if there are none, or more than that.
  classNames @8 :List(Text);
  # The names of class 0, 1, ... in the raw data; empty if labels are already numbers. At most
  # `maxClassNames`.
  vocabulary @9 :Data;
  # Of a text: the bytes that token 0, 1, ... represent. At most `maxVocabulary`.
}

struct Column {
  # One feature column of a table. A served value is (raw value - mean) / deviation; the mean is 0
  # and the deviation 1 if the values are served unchanged.
  name @0 :Text;                  # From the header of the table; empty if it has none. At most `maxColumnNameBytes`.
  mean @1 :Float64;               # Over the training samples.
  deviation @2 :Float64;          # Over the training samples; above 0.
}

struct BatchRequest {
  # worker -> data service. Answered with `TrainingBatch`. The answer is a pure function of these
  # fields and the dataset, so every replica gives the same bytes, and repeating a request is always
  # safe.
  split @0 :Split;
  seed @1 :UInt64;             # Seed of the sample order. Not used for `heldOut`.
  epoch @2 :UInt32;            # Not used for `heldOut`.
  step @3 :UInt32;             # Step within the epoch, below ceil(samples / batchSize).
  batchSize @4 :UInt32;        # Samples of a whole step, over all shards. 1 to `maxBatchSize`.
  shard @5 :UInt32;            # Below `shards`.
  shards @6 :UInt32;           # A power of two, 1 to `maxShards`.
  minShardSamples @7 :UInt32;  # RunSettings.minShardSamples; 0 for `heldOut`.
  contentHash @8 :ContentHash; # How TrainingBatch.hash is to be computed.
  released @9 :List(UInt32);
  # Over a Unix socket: regions that held batches and that this worker no longer reads.
}

struct TrainingBatch {
  # data service -> worker: the samples of one shard of one step, preprocessed and ready to train
  # on. With n samples in the step, shard s of S holds the positions [n*s/S, n*(s+1)/S) of the step
  # (integer division); it may be empty. If that would give any shard fewer than minShardSamples
  # samples, shards are merged: S is halved until no shard has fewer, or S is 1. Shard j of the
  # reduced number S' then has the number j*S/S', and the numbers between are empty.
  split @0 :Split;
  epoch @1 :UInt32;
  step @2 :UInt32;             # Step within the epoch.
  shard @3 :UInt32;
  sampleIds @4 :Tensor;        # int64 [n]: positions in the raw dataset.
  features @5 :Tensor;         # [n, ...sample shape]
  labels @6 :Tensor;           # [n, ...label shape]
  hash @7 :Data;
  # The identity of the batch: over sampleIds, features, labels, in this order, as
  # BatchRequest.contentHash says.
  epochSteps @8 :UInt32;       # ceil(samples / batchSize): steps of an epoch.
  place @9 :Place;
  # If set, the tensors have no `data`: their bytes are in this region, in the order of `hash`, each
  # starting at the next multiple of 64 bytes.
}

# ------------------------------------------------------------------------------------ joining a run

struct RunSettings {
  # Fixed for the life of a run; the orchestrator's values are authoritative.
  seed @0 :UInt64;             # Of sample order, initial parameters and every random number in training.
  shards @1 :UInt32;           # Shards of a step; a power of two, 1 to `maxShards`.
  batchSize @2 :UInt32;        # Samples of a step, over all shards.
  epochs @3 :UInt32;           # At least 1.
  minShardSamples @4 :UInt32;
  # Shards of a step are merged until each has at least this number of samples (see TrainingBatch);
  # 0 or 1 merges none.
  dropLast @5 :Bool;
  # An epoch has floor(samples / batchSize) steps: samples left over at the end of its order are not
  # used in that epoch.
  contentHash @6 :ContentHash;
  # Of parameters, aggregates and batches. A run that began with `sha256` keeps it.
}

struct JoinRequest {
  # worker -> orchestrator: the first message on a connection. Answered with `JoinReply`.
  protocolVersion @0 :UInt16;
  workerName @1 :Text;              # For people; need not be unique. At most `maxWorkerNameBytes`.
  software @2 :Text;
  # Build of torch and processor model; should be the same for all workers of a run. At most
  # `maxSoftwareBytes`.
  parameters @3 :List(TensorSpec);
  # What is added up in a step: the gradients of the trainable parameters, in model order, then
  # everything else in the model that changes in a forward pass. At most `maxParameters`.
  parametersHash @4 :Data;
  # SHA-256 of the parameters that the worker holds: over their tensors as in
  # WorkRequest.parametersHash.
  step @5 :UInt64;                  # Steps applied to them; 0 for freshly initialised ones.
  dataset @6 :DatasetInfo;          # As described by the worker's data service.
  processId @7 :UInt32;             # Of the worker, for people and for fault injection. 0 if unknown.
  runId @8 :Text;
  # JoinReply.runId of an earlier connection, if this worker reconnects; empty the first time. At
  # most `maxRunIdBytes`.
  heartbeatSeconds @9 :Float64;
  # Longest time between two frames of this worker, whatever it does; 0 if it does not promise any.
  # A worker that is silent for several times as long keeps its connection, but its shards are
  # leased to others.
  training @10 :Text;
  # How a step changes the parameters: optimizer, its settings, scheduler, clipping. JSON with
  # sorted keys; equal for all workers of a run. At most `maxTrainingBytes`; empty if the worker
  # does not say.
  arithmetic @11 :Text;
  # The level that the worker's arithmetic is pinned to, such as "avx2"; empty if it is not pinned.
  # At most `maxArithmeticBytes`.
  fingerprints @12 :List(Fingerprint);
  # Of a reference computation, one for each operator; equal for all workers of a run. At most
  # `maxFingerprints`.
  parametersContentHash @13 :Data;
  # The same as `parametersHash`, as `xxh3Tree`: before the reply, a worker does not know which of
  # the two the run uses.
}

struct Fingerprint {
  # What one operator computes from fixed inputs.
  operator @0 :Text;           # For example "matmul". At most `maxOperatorBytes`.
  hash @1 :Data;               # SHA-256 over the bytes of its result.
}

struct JoinReply {
  runId @0 :Text;
  workerId @1 :UInt32;         # Unique in the run, never reused. Starts at 1.
  settings @2 :RunSettings;
  step @3 :UInt64;
  # The open step. A worker that holds an earlier one gets a `Snapshot` for its next WorkRequest.
  totalSteps @4 :UInt64;
  # Epochs times the steps of an epoch: ceil(trainSamples / batchSize), or floor with dropLast.
}

# ----------------------------------------------------------------------------------------- training

struct Timings {
  # Where a worker's time went since its last WorkRequest, in seconds.
  data @0 :Float64;            # Waiting for batches.
  compute @1 :Float64;         # Forward, backward and optimizer.
  exchange @2 :Float64;        # Sending gradients, waiting for the aggregate.
}

struct WorkRequest {
  # worker -> orchestrator: "my parameters have `step` steps applied; what is next?" The answer is
  # delayed until there is one: `ShardLease`, `Aggregate`, `SnapshotRequest`, `Snapshot`,
  # `RunFinished` or `ErrorReply`.
  step @0 :UInt64;
  parametersHash @1 :Data;
  # Over all trainable parameters, then all buffers, in model order; RunSettings.contentHash.
  timings @2 :Timings;
  stop @3 :Text;
  # Not empty: the worker's script has left its loop, for this reason; the run ends after the last
  # committed step, for all workers. Answered as usual: with what brings the worker to that step,
  # then with `RunFinished`. At most `maxStopBytes`.
  figures @4 :List(Figure);
  # What the script logged when it applied the last of these steps, the same on all workers. It
  # replaces what was logged about shards under the same name. At most `maxFigures`.
}

struct ShardLease {
  # orchestrator -> worker: compute these shards of the open step and submit their gradient sums.
  step @0 :UInt64;             # Of the run: epoch * epochSteps + step in the epoch.
  epoch @1 :UInt32;
  epochStep @2 :UInt32;        # Step within the epoch.
  shards @3 :List(UInt32);     # Ascending, at least one.
  separate @4 :List(UInt32);
  # Those of them that must be submitted as updates of one shard each: their bits are compared with
  # those of another worker.
  released @5 :List(UInt32);
  # Regions of this worker that the orchestrator no longer reads: they may be written again.
}

struct ShardReport {
  # What went into the gradient sum of one shard.
  shard @0 :UInt32;
  samples @1 :UInt32;
  lossSum @2 :Float64;         # The shard's loss times `weight`; with `summed`, the shard's loss.
  batchHash @3 :Data;          # TrainingBatch.hash
  weight @4 :Float64;
  # The factor that the shard's gradient was multiplied by: the number of things (samples, tokens)
  # that its loss is a mean over. Finite, at least 0; 0 for an empty shard and for one in which
  # nothing counts.
  summed @5 :Bool;
  # The loss is a sum, not a mean: the step's gradient is the plain sum over the shards. The same
  # for all shards of a step that have samples.
  stop @6 :Text;
  # Not empty: after computing this shard, the script requests that the run end after this step. At
  # most `maxStopBytes`.
  figures @7 :List(Figure);
  # What the script logged about this shard. The step's value is the mean over the shards that have
  # the figure, by their weights, added in the tree of the sums; where they are all equal, their
  # value. At most `maxFigures`; a step has as many, those of its lowest shards.
}

struct Figure {
  # A number that a script logs for people, such as an accuracy. Nothing is computed from it.
  name @0 :Text;               # Not empty, at most `maxFigureNameBytes`; unique in its list.
  value @1 :Float64;           # May be NaN or infinite.
}

struct GradientUpdate {
  # worker -> orchestrator: the gradient sum over the samples of the shards [firstShard, firstShard
  # + shardCount), added in the fixed binary tree over the shard numbers. The range is one node of
  # that tree: shardCount is a power of two that divides firstShard. Sent as one or more frames; the
  # last one is answered with `GradientAck`.
  step @0 :UInt64;
  firstShard @1 :UInt32;
  shardCount @2 :UInt32;
  gradients @3 :List(Tensor);
  # Pieces, in the order of JoinRequest.parameters and of their bytes, without gaps or overlaps.
  final @4 :Bool;                   # The last frame of this update.
  reports @5 :List(ShardReport);    # Only in the final frame: one for each shard, ascending.
  place @6 :Place;
  # If set, there is one frame without `gradients`: they are in this region of the worker, as one
  # flat vector. This frame is the point of submission: what is in the region before it counts for
  # nothing. The worker does not write to the region again until it is `released`.
}

enum Verdict {
  # The result of a GradientUpdate. It never waits for other workers.
  unspecified @0;
  accepted @1;      # It is part of the open step.
  duplicate @2;     # The same bytes for these shards had already arrived. Nothing to do.
  conflict @3;
  # Different bytes for these shards had already arrived. The update was dropped and recorded as an
  # incident.
  stale @4;
  # The step is closed, or these shards have arrived in another grouping. The worker only has to ask
  # for work.
  tooEarly @5;      # The step is not open yet: the worker is ahead of the run, which is an error in the worker.
  refused @6;       # Malformed: NaN or Inf, wrong name, shape, dtype, count. `detail` names tensor and reason.
}

struct GradientAck {
  verdict @0 :Verdict;
  detail @1 :Text;             # For people; empty for `accepted`. At most `maxDetailBytes`.
  released @2 :List(UInt32);   # As in ShardLease.
}

struct Aggregate {
  # orchestrator -> worker: the gradient sum over all shards of a step. The gradient of the step's
  # loss is this sum divided by `divisor`. One or more frames; counts and sums are the same in each.
  step @0 :UInt64;
  samples @1 :UInt64;          # In the step. At least 1.
  lossSum @2 :Float64;         # Added in the same tree.
  gradients @3 :List(Tensor);  # Pieces, as in GradientUpdate.
  final @4 :Bool;
  hash @5 :Data;
  # Over the gradients as one tensor (RunSettings.contentHash); only in the final frame. The step is
  # committed when the final frame is sent, and not before: a worker that has received the other
  # frames applies nothing until then.
  divisor @6 :Float64;
  # The weights of the shards, added in the same tree; 1 if the losses are sums. At least 0; if it
  # is 0, nothing counted and the gradient is all zeros.
  place @7 :Place;
  # If set, there is one frame without `gradients`: they are in this region of the orchestrator, as
  # one flat vector, and remain there until the worker's next WorkRequest.
  released @8 :List(UInt32);   # As in ShardLease.
  abandoned @9 :Bool;
  # The last frame of an aggregate that will not be committed: the worker drops what it has received
  # of it and keeps waiting for the answer to its request.
}

struct SnapshotRequest {
  # orchestrator -> worker: send your state (parameters, optimizer, step) as `Snapshot` frames, and
  # ask for work again. Another worker needs it, or a checkpoint. The frames may come between those
  # of the worker's next messages; the state is that of `step` all the same.
  step @0 :UInt64;             # The step that the worker holds.
}

struct Snapshot {
  # The complete state of a worker after `step` steps, as the bytes of a safetensors file, in one or
  # more frames. Not answered.
  step @0 :UInt64;
  parametersHash @1 :Data;     # As in WorkRequest: checked by the receiver after loading.
  totalBytes @2 :UInt64;       # Size of the file.
  byteOffset @3 :UInt64;       # Of `data` in the file. Pieces are sent in order.
  data @4 :Data;
  hash @5 :Data;               # SHA-256 over the file; only in the final frame.
  final @6 :Bool;
}

struct RunFinished {
  # orchestrator -> worker: all steps are committed, or the run was ended before its last step.
  steps @0 :UInt64;
  parametersHash @1 :Data;     # Of the parameters that the workers agreed on.
  incidents @2 :UInt64;        # Number of incidents in the ledger.
  stopped @3 :Text;            # Why the run ended before its last step; empty if it did not.
}

struct Heartbeat {
  # worker -> orchestrator: "I am alive." Sent between other frames, even between those of one
  # logical message, with requestId 0. Not answered.
}

struct Leave {
  # worker -> orchestrator: "I am leaving (graceful stop); lease my shards to others now." Answered
  # with `Leave`.
  reason @0 :Text;             # For people. At most `maxReasonBytes`.
  broken @1 :Text;
  # Not empty: what the worker found in its own script that breaks the promise of the same bits, for
  # people. It becomes an incident and ends the run, unless the orchestrator is not strict. At most
  # `maxBrokenBytes`.
  cannotLoad @2 :Bool;
  # The worker cannot load the state that it was sent. Unless another one has loaded it, nobody is
  # sent it again, and whoever gave it is not asked for its state again.
}

# ------------------------------------------------------------------------------------------- errors

enum ErrorAction {
  # What the receiver of an error has to do.
  unspecified @0;
  fixRequest @1;    # The request is wrong; the same request will always be refused.
  retryLater @2;    # Busy or starting; the same request may succeed after `retryAfter` seconds.
  reconnect @3;     # This connection is no longer usable; open a new one and join again.
  resync @4;        # The worker's parameters are not those of the run; drop them and join again with step 0.
  stop @5;          # The run cannot use this worker; exit and report the detail to a person.
}

struct ErrorReply {
  action @0 :ErrorAction;
  detail @1 :Text;
  # What went wrong, where, and what to do; one sentence for people. At most `maxDetailBytes`.
  refused @2 :MessageType;     # The type of the refused message; `unspecified` if it could not be read.
  retryAfter @3 :Float64;      # Seconds; only for `retryLater`.
}

# ----------------------------------------------------------------------------------------- envelope

enum MessageType {
  # Names a type of message in errors, logs and metrics. In the same order as the union in Message,
  # so that `Message.type` can be checked against it.
  unspecified @0;
  datasetRequest @1;
  datasetInfo @2;
  batchRequest @3;
  trainingBatch @4;
  joinRequest @5;
  joinReply @6;
  workRequest @7;
  shardLease @8;
  gradientUpdate @9;
  gradientAck @10;
  aggregate @11;
  snapshotRequest @12;
  snapshot @13;
  runFinished @14;
  leave @15;
  errorReply @16;
  heartbeat @17;
  sharedRegion @18;
}

struct Message {
  # The root of every frame. `type` must agree with the member of the union that is set; otherwise a
  # reader refuses the message as malformed.
  type @0 :MessageType;
  requestId @1 :UInt64;        # Chosen by the requester, ascending; echoed in replies.

  union {
    unspecified @2 :Void;
    datasetRequest @3 :DatasetRequest;
    datasetInfo @4 :DatasetInfo;
    batchRequest @5 :BatchRequest;
    trainingBatch @6 :TrainingBatch;
    joinRequest @7 :JoinRequest;
    joinReply @8 :JoinReply;
    workRequest @9 :WorkRequest;
    shardLease @10 :ShardLease;
    gradientUpdate @11 :GradientUpdate;
    gradientAck @12 :GradientAck;
    aggregate @13 :Aggregate;
    snapshotRequest @14 :SnapshotRequest;
    snapshot @15 :Snapshot;
    runFinished @16 :RunFinished;
    leave @17 :Leave;
    errorReply @18 :ErrorReply;
    heartbeat @19 :Heartbeat;
    sharedRegion @20 :SharedRegion;
  }
}
