//! Guest programs in 16-bit real mode, as bytes. They are loaded, and entered, at [`ENTRY`].

/// Where a program lies in guest memory.
pub const ENTRY: u16 = 0x1000;

/// Where the greeter leaves its answer in guest memory.
pub const ANSWER: u16 = 0x2000;

/// The I/O port that the greeter writes text to.
pub const PORT: u16 = 0x3f8;

/// What the greeter does to the number it is given.
pub fn answer_to(number: u16) -> u16 {
    !number
}

/// Returns a program that writes `text` to [`PORT`] byte by byte, leaves [`answer_to`] of the number
/// in register BX at [`ANSWER`], and halts. `text` must fit into the page, and hold no zero byte.
pub fn greeter(text: &str) -> Vec<u8> {
    let [port_low, port_high] = PORT.to_le_bytes();
    let [answer_low, answer_high] = ANSWER.to_le_bytes();
    let mut code = vec![
        0xba,
        port_low,
        port_high, // mov dx, PORT
        0xbe,
        0,
        0,    // mov si, text
        0xac, // next: lodsb
        0x84,
        0xc0, // test al, al
        0x74,
        0x03, // jz done
        0xee, // out dx, al
        0xeb,
        0xf8, // jmp next
        0xf7,
        0xd3, // done: not bx
        0x89,
        0x1e,
        answer_low,
        answer_high, // mov [ANSWER], bx
        0xf4,        // hlt
    ];
    let text_at = ENTRY + code.len() as u16;
    code[4..6].copy_from_slice(&text_at.to_le_bytes());
    code.extend(text.bytes());
    code.push(0);
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_lies_where_the_code_looks_for_it() {
        let program = greeter("hi");
        let at = usize::from(u16::from_le_bytes([program[4], program[5]]) - ENTRY);
        assert_eq!(&program[at..], b"hi\0");
        assert_eq!(program[at - 1], 0xf4, "code ends in hlt");
    }

    #[test]
    fn jumps_land_on_instructions() {
        let program = greeter("");
        let target = |jump: usize| {
            let distance = isize::from(program[jump + 1] as i8);
            program[(jump as isize + 2 + distance) as usize]
        };
        assert_eq!(target(9), 0xf7, "jz goes to not bx");
        assert_eq!(target(12), 0xac, "jmp goes to lodsb");
    }
}
