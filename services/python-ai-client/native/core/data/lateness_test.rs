use super::*;

fn after(milliseconds: impl IntoIterator<Item = u64>) -> Option<Duration> {
    let mut lateness = Lateness::default();
    for time in milliseconds {
        lateness.observe(Duration::from_millis(time));
    }
    lateness.patience()
}

#[test]
fn too_few_answers_say_nothing() {
    assert_eq!(after([]), None);
    assert_eq!(after([500; 7]), None);
    assert_eq!(after([500; 8]), Some(Duration::from_millis(500)));
}

#[test]
fn it_is_the_median_and_five_deviations() {
    // Median 104.5, deviations 0.5 0.5 1.5 1.5 2.5 2.5 3.5 3.5 and 4.5 twice: their median is 2.5.
    assert_eq!(after(100..110), Some(Duration::from_millis(117)));
    // Median 100, deviations 0 (five times) and others: one slow answer does not make the next slow one usual.
    let outlier = after([100, 100, 100, 100, 100, 100, 100, 100, 9000]);
    assert_eq!(outlier, Some(Duration::from_millis(100)));
}

#[test]
fn quick_answers_are_never_late_at_once() {
    assert_eq!(after([1; 20]), Some(LEAST));
    assert_eq!(after([0; 20]), Some(LEAST));
}

#[test]
fn old_answers_are_forgotten() {
    let slow_then_quick = (0..64).map(|_| 2000).chain((0..64).map(|_| 200));
    assert_eq!(after(slow_then_quick), Some(Duration::from_millis(200)));
}
