//! Refuses a file whose brackets are nested so deeply that the parser's own stack would be full, closed or not.

/// How many brackets may be open at once. Nothing that is known here takes more than five.
const DEPTH_MAX: usize = 50;

/// Returns where one bracket too many is opened. Strings and comments end as the parser has them end, and a bracket that
/// closes another kind closes nothing.
pub(super) fn too_deep(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut open = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'#' => at += bytes[at..].iter().take_while(|byte| **byte != b'\n').count(),
            b'"' | b'\'' => at = end_of_string(bytes, at),
            b'[' | b'{' if open.len() == DEPTH_MAX => return Some(at),
            b'[' => open.push(b']'),
            b'{' => open.push(b'}'),
            _ if open.last() == Some(&byte) => drop(open.pop()),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Returns the last byte of the string that begins there. One of a single line ends with it.
fn end_of_string(bytes: &[u8], begin: usize) -> usize {
    let quote = bytes[begin];
    let is_long = bytes[begin..].starts_with(&[quote; 3]);
    let mut at = begin + if is_long { 3 } else { 1 };
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' if quote == b'"' => at += 1,
            b'\n' if !is_long => return at,
            _ if is_long && bytes[at..].starts_with(&[quote; 3]) => {
                // Two more may belong to it.
                let more = bytes[at + 3..].iter().take(2);
                return at + 2 + more.take_while(|byte| **byte == quote).count();
            }
            _ if !is_long && byte == quote => return at,
            _ => {}
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_count_only_where_they_are_some() {
        let check = |text: &str, times: usize| too_deep(&text.repeat(times)).is_some();
        assert!(!check("a = [{ b = [1, 2] }]\n[a.b]\n[[c]]\n", 1000));
        assert!(!check(
            "a = \"[[[\" # [[[\nb = '[{'\nc = \"\"\"\n[\"[\n\"\"\"\nd = '''\n['[\n'''\n",
            1000
        ));
        assert!(!check("a = \"\\\"[\"\n", 1000));
        assert!(!check("[", 50));
        assert!(check("[", 51));
        assert!(check("[{", 26));
        assert!(check("{]", 51), "what closes another kind closes nothing");
        assert!(check("\"\"\"a\"\"\"\"[", 51));
        assert!(check("a = [ \"not closed\n", 51));
    }
}
