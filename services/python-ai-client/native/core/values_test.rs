use super::*;

type Builder = capnp::message::Builder<capnp::message::HeapAllocator>;

fn refusal(retry_after: f64, detail: &str) -> CoreError {
    let mut message = Builder::new_default();
    let mut root = message.init_root::<message::Builder<'_>>();
    root.set_type(MessageType::ErrorReply);
    let mut error = root.reborrow().init_error_reply();
    error.set_retry_after(retry_after);
    error.set_detail(detail);
    read_error(root.into_reader()).expect("an error")
}

#[test]
fn a_pause_can_be_slept_whatever_a_service_asks_for() {
    for (asked, expected) in [
        (1.5, 1.5),
        (-1.0, 0.0),
        (f64::NAN, 0.0),
        (f64::INFINITY, MAX_RETRY_AFTER_SECONDS),
        (f64::NEG_INFINITY, 0.0),
        (1e300, MAX_RETRY_AFTER_SECONDS),
    ] {
        let CoreError::Peer {
            retry_after_seconds,
            ..
        } = refusal(asked, "later")
        else {
            panic!("another error");
        };
        assert_eq!(retry_after_seconds, expected);
    }
}

#[test]
fn an_endless_explanation_is_cut_between_characters() {
    let CoreError::Peer { detail, .. } = refusal(0.0, &"\u{e4}".repeat(1 << 20)) else {
        panic!("another error");
    };
    assert_eq!(
        detail,
        format!("{}...", "\u{e4}".repeat(MAX_DETAIL_BYTES as usize / 2))
    );
}

fn info(fill: impl FnOnce(dataset_info::Builder<'_>)) -> String {
    let mut message = Builder::new_default();
    let mut info = message.init_root::<dataset_info::Builder<'_>>();
    info.set_hash(&[0; HASH_BYTES]);
    let row = TensorSpec::new("", pangea_wire::DType::Float32, vec![1]).expect("valid");
    row.write(info.reborrow().init_features()).expect("written");
    row.write(info.reborrow().init_labels()).expect("written");
    fill(info.reborrow());
    match DatasetInfo::read(info.into_reader()) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_a_data_service_says_of_itself_is_bounded() {
    assert_eq!(info(|_| ()), "");
    let name = info(|mut info| info.set_name("x".repeat(MAX_TEXT_BYTES as usize + 1).as_str()));
    assert!(name.contains("the limit is 4096"), "{name}");
    let columns = info(|info| {
        info.init_columns(MAX_COLUMNS + 1);
    });
    assert!(columns.contains("DatasetInfo.columns"), "{columns}");
    let names = info(|info| {
        info.init_class_names(MAX_CLASS_NAMES + 1);
    });
    assert!(names.contains("DatasetInfo.classNames"), "{names}");
    let vocabulary = info(|mut info| info.set_vocabulary(&[0; 257]));
    assert!(
        vocabulary.contains("DatasetInfo.vocabulary"),
        "{vocabulary}"
    );
}

fn join(shards: u32, batch_size: u32) -> String {
    let mut message = Builder::new_default();
    let mut reply = message.init_root::<join_reply::Builder<'_>>();
    let mut settings = reply.reborrow().init_settings();
    settings.set_shards(shards);
    settings.set_batch_size(batch_size);
    match JoinReply::read(reply.into_reader()) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_settings_of_a_run_are_within_their_ranges() {
    assert_eq!(join(MAX_SHARDS, MAX_BATCH_SIZE), "");
    for (shards, batch_size, field) in [
        (0, 8, "RunSettings.shards"),
        (3, 8, "RunSettings.shards"),
        (2 * MAX_SHARDS, 8, "RunSettings.shards"),
        (8, 0, "RunSettings.batchSize"),
        (8, MAX_BATCH_SIZE + 1, "RunSettings.batchSize"),
    ] {
        let error = join(shards, batch_size);
        assert!(error.contains(field), "{error}");
    }
}
