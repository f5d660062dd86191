//! Patches of objects.

use serde_json::{Map, Value};

/// Applies a JSON merge patch (RFC 7396).
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(target) = target {
        for (key, value) in patch {
            if value.is_null() {
                target.remove(key);
            } else {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
    }
}

/// Removes the fields that a field manager applied before (`before`) and no longer applies (`now`), as server-side
/// apply does. Only fields of JSON objects are compared; a list is one value.
pub(super) fn withdraw(target: &mut Value, before: &Value, now: &Value) {
    let (Value::Object(target), Value::Object(before)) = (target, before) else {
        return;
    };
    for (key, before) in before {
        match (now.get(key), target.get_mut(key)) {
            (None, Some(_)) => {
                target.remove(key);
            }
            (Some(now), Some(target)) => withdraw(target, before, now),
            (_, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn null_takes_away_and_objects_merge() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "d": [1]});
        merge(
            &mut target,
            &json!({"a": {"b": null, "e": {"f": null, "g": 3}}, "d": [2]}),
        );
        assert_eq!(target, json!({"a": {"c": 2, "e": {"g": 3}}, "d": [2]}));
    }

    #[test]
    fn what_is_applied_no_more_goes_and_what_others_have_set_stays() {
        let mut target = json!({"a": {"ours": 1, "theirs": 2}, "b": 3});
        let (before, now) = (json!({"a": {"ours": 1}, "b": 3}), json!({"a": {}}));
        withdraw(&mut target, &before, &now);
        assert_eq!(target, json!({"a": {"theirs": 2}}));
    }
}
