//! Random decisions from a list of numbers, so that proptest can shrink them and a fuzzer can
//! steer them.

/// Hands out decisions; all zero once the numbers are used up, which makes things small.
#[derive(Clone, Debug)]
pub struct Choices {
    numbers: Vec<u16>,
    at: usize,
}

impl Choices {
    pub fn new(numbers: Vec<u16>) -> Self {
        Self { numbers, at: 0 }
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        let number = self.numbers.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(number) % limit
    }

    pub fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    pub fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    /// `min` to `max` characters out of `alphabet`.
    pub fn text(&mut self, alphabet: &str, min: usize, max: usize) -> String {
        let alphabet: Vec<char> = alphabet.chars().collect();
        let len = min + self.below(max - min + 1);
        (0..len).map(|_| self.of(&alphabet)).collect()
    }

    pub fn token(&mut self) -> String {
        self.text("abcXYZ019-.!%*_+`'~", 1, 12)
    }

    pub fn bytes(&mut self, max: usize) -> Vec<u8> {
        let len = self.below(max + 1);
        (0..len).map(|_| self.below(256) as u8).collect()
    }

    /// `some` or nothing.
    pub fn maybe<T>(&mut self, some: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| some(self))
    }
}
