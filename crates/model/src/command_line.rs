//! A check's shell command, read as far as it is one plain command, perhaps after others.

/// Returns the words of the last command, without the settings of variables and the toolchain before its first word and
/// behind it, each with where it begins; and whether it is all there is. None: it is part of something bigger, such as
/// a pipe, so that nothing can be put behind it.
pub(crate) fn last_command(command: &str) -> Option<(Vec<(usize, String)>, bool)> {
    let mut words: Vec<(usize, String)> = Vec::new();
    let (mut quoted, mut last, mut is_alone) = (None, ' ', true);
    for (at, char) in command.char_indices() {
        match (quoted, char) {
            (None, ';' | '|' | '<' | '>' | '(' | ')' | '{' | '}' | '`' | '#' | '\\') => return None,
            (None, '\n') if !command[at..].trim().is_empty() => return None,
            (None, '&') if last == '&' => {
                words.clear();
                is_alone = false;
            }
            (None, '&') => {}
            (None, _) if last == '&' && !command[..at].ends_with("&&") => return None,
            (None, ' ' | '\t' | '\n') => {}
            (None, _) => {
                if matches!(last, ' ' | '\t' | '&') {
                    words.push((at, String::new()));
                }
                let (_, word) = words.last_mut()?;
                match char {
                    '\'' | '"' => quoted = Some(char),
                    _ => word.push(char),
                }
            }
            (Some(open), _) if open == char => quoted = None,
            (Some(_), _) => words.last_mut()?.1.push(char),
        }
        // What is quoted separates nothing.
        last = if quoted.is_some() { '_' } else { char };
    }
    if quoted.is_some() || last == '&' {
        return None;
    }
    let is_setting = |word: &str| {
        word.split_once('=')
            .is_some_and(|(name, _)| !name.starts_with('-'))
    };
    let settings = words.iter().take_while(|(_, word)| is_setting(word)).count();
    words.drain(..settings);
    let has_toolchain = words.get(1).is_some_and(|(_, word)| word.starts_with('+'));
    if has_toolchain {
        words.remove(1);
    }
    Some((words, is_alone && settings == 0 && !has_toolchain))
}
