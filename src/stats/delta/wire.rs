//! Tables of counts as they travel: zeros are left out.
//!
//! A table with names travels as a map of them. A table without names is a flat row of numbers, in
//! which each count follows the number of empty places before it. The reader takes no more memory
//! than the table may have entries, and refuses forms that no writer here makes.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq, Serializer};

/// Largest value of one count, and of the sum of a table: four of them still fit 64 bits. As
/// nanoseconds it is more than a century.
pub const COUNT_MAX: u64 = 1 << 62;

/// Characters of a name that is quoted in an error.
const QUOTED_MAX: usize = 40;

/// The sum of two counts; `None` if it is too large.
pub(in crate::stats) fn sum(one: u64, other: u64) -> Option<u64> {
    one.checked_add(other).filter(|&sum| sum <= COUNT_MAX)
}

/// Writes the counts that are not 0 by their names.
pub(in crate::stats) fn named<S: Serializer>(
    counts: impl Iterator<Item = (&'static str, u64)> + Clone,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let counts = counts.filter(|&(_, count)| count > 0);
    let mut map = serializer.serialize_map(Some(counts.clone().count()))?;
    for (name, count) in counts {
        map.serialize_entry(name, &count)?;
    }
    map.end()
}

/// Reads a map written by [`named`]: `slot` finds the place of a name, if there is such a name.
pub(in crate::stats) fn read_named<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    table: &mut T,
    slot: for<'t> fn(&'t mut T, &str) -> Option<&'t mut u64>,
) -> Result<(), D::Error> {
    deserializer.deserialize_map(Named { table, slot })
}

struct Named<'t, T> {
    table: &'t mut T,
    slot: for<'s> fn(&'s mut T, &str) -> Option<&'s mut u64>,
}

impl<'de, T> Visitor<'de> for Named<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("counts by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut total = 0;
        while let Some(name) = map.next_key::<String>()? {
            let count = map.next_value()?;
            let known = (self.slot)(self.table, &name).filter(|slot| **slot == 0);
            let quoted: String = name.chars().take(QUOTED_MAX).collect();
            let slot = known.ok_or_else(|| {
                A::Error::custom(format_args!("{quoted:?} is no count of this table, or is twice"))
            })?;
            *slot = count;
            total = sum(total, count).ok_or_else(|| {
                A::Error::custom(format_args!("with {quoted:?} the sum is above {COUNT_MAX}"))
            })?;
        }
        Ok(())
    }
}

/// Writes counts by their places in a table, which ascend. None of them is 0.
pub(in crate::stats) fn sparse<S: Serializer>(
    counts: impl Iterator<Item = (usize, u64)> + Clone,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut row = serializer.serialize_seq(Some(counts.clone().count() * 2))?;
    let mut next = 0;
    for (place, count) in counts {
        row.serialize_element(&((place - next) as u64))?;
        row.serialize_element(&count)?;
        next = place + 1;
    }
    row.end()
}

/// Reads a row written by [`sparse`], of a table with this many places.
pub(in crate::stats) fn read_sparse<'de, D: Deserializer<'de>>(
    deserializer: D,
    places: usize,
) -> Result<Vec<(usize, u64)>, D::Error> {
    deserializer.deserialize_seq(Sparse { places })
}

struct Sparse {
    places: usize,
}

impl<'de> Visitor<'de> for Sparse {
    type Value = Vec<(usize, u64)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pairs of a gap and a count, in {} places", self.places)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut row: A) -> Result<Self::Value, A::Error> {
        // Pairs take at least one place each, so that there cannot be more of them than places.
        let (mut counts, mut next, mut total) = (Vec::new(), 0_usize, 0);
        while let Some(gap) = row.next_element::<u64>()? {
            let place = usize::try_from(gap).ok().and_then(|gap| next.checked_add(gap));
            let place = place.filter(|&place| place < self.places).ok_or_else(|| {
                A::Error::custom(format_args!("a place beyond the last of {}", self.places))
            })?;
            let count: u64 = row
                .next_element()?
                .filter(|&count| count > 0)
                .ok_or_else(|| A::Error::custom("a place without a count"))?;
            total = sum(total, count)
                .ok_or_else(|| A::Error::custom(format_args!("a sum above {COUNT_MAX}")))?;
            counts.push((place, count));
            next = place + 1;
        }
        Ok(counts)
    }
}

/// Reads a list of at most `N` values. It takes no memory for values before they come.
pub(in crate::stats) fn bounded<'de, D, T, const N: usize>(
    deserializer: D,
) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Bounded<T, const N: usize>(std::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Bounded<T, N> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {N} values")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(value) = values.next_element()? {
                if all.len() == N {
                    return Err(A::Error::custom(format_args!("more than {N} values")));
                }
                all.push(value);
            }
            Ok(all)
        }
    }

    deserializer.deserialize_seq(Bounded::<T, N>(std::marker::PhantomData))
}

/// A number of 128 bits as two of 64, the higher one first: some formats have no larger numbers.
pub(in crate::stats) mod wide {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(in crate::stats) fn serialize<S: Serializer>(
        value: &u128,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        ((value >> 64) as u64, *value as u64).serialize(serializer)
    }

    pub(in crate::stats) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<u128, D::Error> {
        let (high, low) = <(u64, u64)>::deserialize(deserializer)?;
        Ok(u128::from(high) << 64 | u128::from(low))
    }
}
