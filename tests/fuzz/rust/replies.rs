//! Replies of an orchestrator, as a worker reads them: one reader for all that may arrive.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use native_core::{DatasetInfo, Join, Options, OrchestratorClient, Timings, Uninterrupted, Work};
use pangea_wire::{DType, Pool, TensorSpec};

const HASH: [u8; 32] = [3; 32];
/// The worker has a model of 16 bytes; more than this is not for it.
const MEMORY: usize = 32 << 20;

/// Joins and asks for work at a service whose answers are the input, whatever it is asked.
pub fn replies(input: &[u8]) -> String {
    static LISTENER: OnceLock<TcpListener> = OnceLock::new();
    let listener = LISTENER.get_or_init(|| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let address = listener.local_addr().expect("bound").to_string();
    let answers = input.to_vec();
    let service = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a worker");
        // The worker may have seen enough before the end.
        let _ = stream.write_all(&answers);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
        read_all(&mut stream);
    });
    let outcome = work(&address);
    service.join().expect("no panic");
    // The port differs from run to run, the digits of it do not count.
    outcome
}

fn read_all(stream: &mut TcpStream) {
    let mut window = [0; 4096];
    while stream.read(&mut window).is_ok_and(|count| count > 0) {}
}

fn work(address: &str) -> String {
    let options = Options {
        timeout: Duration::from_secs(2),
        ..Options::default()
    };
    let pool = Pool::new(MEMORY, 0);
    let waiter = &mut Uninterrupted;
    let mut client = match OrchestratorClient::connect(address, options, &pool, waiter) {
        Ok(client) => client,
        Err(error) => return error.to_string(),
    };
    let spec = |name, shape: &[u64]| TensorSpec::new(name, DType::Float32, shape.to_vec());
    let (Ok(weight), Ok(row)) = (spec("weight", &[4]), spec("row", &[])) else {
        return String::new();
    };
    let dataset = DatasetInfo {
        name: "d".to_owned(),
        hash: vec![1; 32],
        train_samples: 8,
        held_out_samples: 0,
        classes: 2,
        features: row.clone(),
        labels: row,
        columns: Vec::new(),
        class_names: Vec::new(),
        vocabulary: Vec::new(),
    };
    let parameters = [weight];
    let join = Join {
        worker_name: "w",
        software: "fuzz",
        parameters: &parameters,
        parameters_hash: &HASH,
        parameters_content_hash: &HASH,
        step: 0,
        dataset: &dataset,
        run_id: "",
        heartbeat: Duration::ZERO,
        training: "",
        arithmetic: "",
        fingerprints: &[],
    };
    if let Err(error) = client.join(&join, waiter) {
        return error.to_string();
    }
    let work = Work {
        step: 0,
        parameters_hash: &HASH,
        timings: Timings::default(),
        stop: "",
        figures: &[],
    };
    match client.request_work(&work, waiter) {
        Ok(_) => "work".to_owned(),
        Err(error) => error.to_string(),
    }
}
