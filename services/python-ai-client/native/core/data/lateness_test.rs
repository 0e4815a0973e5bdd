use super::*;

fn after(milliseconds: impl IntoIterator<Item = u64>) -> Option<Duration> {
    let mut lateness = Lateness::default();
    for time in milliseconds {
        lateness.observe(Duration::from_millis(time));
    }
    lateness.patience()
}

#[test]
fn nothing_is_late_with_too_few_observations() {
    assert_eq!(after([]), None);
    assert_eq!(after([500; 7]), None);
    assert_eq!(after([500; 8]), Some(Duration::from_millis(500)));
}

#[test]
fn it_is_the_median_and_five_deviations() {
    // Median 105 (the upper of two), deviations 0, 1, 1, 2, 2, 3, 3, 4, 4 and 5: their median is 3.
    assert_eq!(after(100..110), Some(Duration::from_millis(120)));
    // One slow reply does not make the next slow one usual.
    let outlier = after([100, 100, 100, 100, 100, 100, 100, 100, 9000]);
    assert_eq!(outlier, Some(Duration::from_millis(100)));
}

#[test]
fn quick_replies_are_never_late_at_once() {
    assert_eq!(after([1; 20]), Some(MIN_LATENESS));
    assert_eq!(after([0; 20]), Some(MIN_LATENESS));
}

#[test]
fn old_observations_are_forgotten() {
    let slow_then_quick = (0..64).map(|_| 2000).chain((0..64).map(|_| 200));
    assert_eq!(after(slow_then_quick), Some(Duration::from_millis(200)));
}

/// The orchestrator's tests read the same file.
#[test]
fn the_rule_is_the_orchestrators() {
    let cases = include_str!("../../../../../libraries/lateness/testdata/cases.json");
    let cases: serde_json::Value = serde_json::from_str(cases).expect("JSON");
    for case in cases.as_array().expect("a list") {
        let seconds = |value: &serde_json::Value| {
            Duration::from_secs_f64(value.as_f64().expect("a number of seconds"))
        };
        let min_lateness = seconds(&case["min_lateness"]);
        let deviations = case["deviations"].as_u64().expect("a number") as u32;
        let mut lateness = Lateness::default();
        for time in case["observed"].as_array().expect("a list") {
            lateness.observe_above(seconds(time), min_lateness);
        }
        let limit = lateness
            .limit(deviations, min_lateness)
            .expect("enough observations");
        let difference = limit.abs_diff(seconds(&case["late_after"]));
        assert!(
            difference < Duration::from_micros(1),
            "{limit:?} for {case}"
        );
    }
}
