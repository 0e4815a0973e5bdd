//! Tells the service manager that started this process, such as systemd, how the process is, so
//! that it is restarted when it hangs. Without a service manager nothing happens.

use sd_notify::{notify, watchdog_enabled, NotifyState};

use crate::pulse::Pulse;

/// How often the process is looked at in the time after which the service manager would end it. One
/// bad moment must not be enough.
const CHECKS: u32 = 4;

/// Says that the process is ready, and from then on that it is alive, while its pulse says so.
pub async fn report(pulse: Pulse) {
    tell(NotifyState::Ready);
    let Some(limit) = watchdog_enabled() else {
        return;
    };
    loop {
        tokio::time::sleep(limit / CHECKS).await;
        report_alive(&pulse);
    }
}

/// Says that the process is stopping: from then on, the service manager's patience with that
/// counts.
pub fn report_stopping() {
    tell(NotifyState::Stopping);
}

fn report_alive(pulse: &Pulse) {
    if pulse.is_alive() {
        tell(NotifyState::Watchdog);
    } else {
        tracing::error!(
            "the compute threads have done nothing for long; the service manager is not told that \
            this process is alive, and restarts it unless they recover"
        );
    }
}

fn tell(state: NotifyState) {
    let text = state.to_string();
    if let Err(error) = notify(&[state]) {
        tracing::warn!(
            state = text,
            %error,
            "cannot reach the service manager, which may take this process for dead; its unit must \
            allow AF_UNIX"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    fn told(socket: &UnixDatagram) -> String {
        let mut message = [0; 100];
        let count = socket.recv(&mut message).expect("told");
        String::from_utf8_lossy(&message[..count]).into_owned()
    }

    #[test]
    fn a_service_manager_is_told_while_the_compute_threads_work() {
        static NOW_SECONDS: AtomicU64 = AtomicU64::new(0);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        // No other test of this program reads it.
        std::env::set_var("NOTIFY_SOCKET", &path);
        let pulse = Pulse::new(|| Duration::from_secs(NOW_SECONDS.load(Ordering::Relaxed)));

        let runtime = tokio::runtime::Runtime::new().expect("threads");
        runtime.block_on(report(pulse.clone()));
        assert_eq!(told(&socket), "READY=1\n");
        report_alive(&pulse);
        assert_eq!(told(&socket), "WATCHDOG=1\n");
        NOW_SECONDS.store(3600, Ordering::Relaxed);
        report_alive(&pulse);
        report_stopping();
        assert_eq!(told(&socket), "STOPPING=1\n", "nothing was said before");
    }
}
