//! A chat template: an instruction's prompt, and where in it the instruction lies.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::jinja::{Ending, Jinja, Message};
use super::source::{checkpoint_template, special_tokens};
use super::{ChatError, TemplateChoice};

/// A chat template that holds the instruction once and unchanged.
///
/// Where the instruction lies is never found by searching for its words, which a template may contain too. A template is
/// rendered once with each of two stand-ins that no template contains. What lies before and after them must be the same;
/// and the rendered instruction must lie between the same two texts.
#[derive(Debug)]
pub struct ChatTemplate {
    /// The file that holds it, for messages; of one of the study's, its name.
    path: PathBuf,
    source: String,
    /// The text of the token that the checkpoint begins a sequence with, if its tokenizer's files name one.
    bos: Option<String>,
    form: Form,
    /// What lies around the instruction, BOS included.
    frame: Frame,
    /// What the template writes after the assistant's words.
    after_reply: String,
}

/// One user turn and the opening of the assistant's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The text, without the BOS that the sequence begins with.
    pub text: String,
    /// Where the instruction lies: bytes of `text`. Where the template trims the instruction, this is what it leaves.
    pub instruction: Range<usize>,
    /// The text of the BOS that the template itself wrote before `text`. `None` where it wrote none, and one is put
    /// before the tokens.
    pub written_bos: Option<String>,
}

#[derive(Debug)]
enum Form {
    Literal,
    Jinja(Box<Jinja>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Frame {
    before: String,
    after: String,
}

/// The most bytes of an instruction: more than any context holds.
const INSTRUCTION_BYTES: usize = 1 << 20;

/// Private characters that no tokenizer or template has a use for, around letters that a change of case would show in.
const STAND_INS: [&str; 2] = ["\u{f8f0}First Stand-in\u{f8f1}", "\u{f8f2}Another of Other Length\u{f8f3}"];

impl ChatTemplate {
    /// Reads a template and makes sure that it holds the instruction. `checkpoint` is the folder that holds it, and
    /// whose tokenizer's files name the special tokens.
    pub fn open(choice: TemplateChoice, checkpoint: &Path) -> Result<Self, ChatError> {
        let special_tokens = special_tokens(checkpoint)?;
        let bos = special_tokens.get("bos_token").cloned();
        let (before, after, after_reply) = match choice {
            TemplateChoice::Checkpoint => {
                let source = checkpoint_template(checkpoint)?;
                let fails = |error: minijinja::Error| ChatError::Failed {
                    path: source.path.clone(),
                    problem: error.to_string(),
                };
                let jinja = Jinja::new(&source.text, special_tokens).map_err(fails)?;
                let frame = jinja_frame(&jinja, &source.path)?;
                let after_reply = jinja_after_reply(&jinja);
                return Ok(Self {
                    path: source.path,
                    source: source.text,
                    bos,
                    form: Form::Jinja(Box::new(jinja)),
                    frame,
                    after_reply,
                });
            }
            TemplateChoice::Mistral => (" [INST] ", " [/INST] ", "</s>"),
            TemplateChoice::Qwen => ("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>\n"),
            TemplateChoice::Gemma => {
                ("<start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n", "<end_of_turn>\n")
            }
        };
        Ok(Self {
            path: PathBuf::from(format!("template {choice}")),
            source: format!("{before}{{instruction}}{after}"),
            bos,
            form: Form::Literal,
            frame: Frame { before: before.to_owned(), after: after.to_owned() },
            after_reply: after_reply.to_owned(),
        })
    }

    /// One user turn and the opening of the assistant's.
    ///
    /// A template may trim the instruction, as Gemma's does: white space at its ends is then not part of the prompt. Any
    /// other change of it is an error.
    pub fn prompt(&self, instruction: &str) -> Result<Prompt, ChatError> {
        if instruction.trim().is_empty() {
            return Err(ChatError::EmptyInstruction);
        }
        if instruction.len() > INSTRUCTION_BYTES {
            return Err(ChatError::LongInstruction { bytes: instruction.len(), limit: INSTRUCTION_BYTES });
        }
        let Frame { before, after } = &self.frame;
        let rendered = match &self.form {
            Form::Literal => format!("{before}{instruction}{after}"),
            Form::Jinja(jinja) => render(jinja, instruction, &self.path)?,
        };
        let held = rendered.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        let Some(held) = held.filter(|held| is_trimmed(held, instruction)) else {
            let problem = format!("changes itself or the instruction for {:?}", beginning(instruction));
            return Err(ChatError::Instruction { path: self.path.clone(), problem });
        };
        let (cut, written_bos) = match &self.bos {
            Some(bos) if !bos.is_empty() && before.starts_with(bos.as_str()) => (bos.len(), Some(bos.clone())),
            _ => (0, None),
        };
        let start = before.len() - cut;
        let instruction = start..start + held.len();
        Ok(Prompt { text: rendered[cut..].to_owned(), instruction, written_bos })
    }

    /// The file that holds it, for messages; of one of the study's, its name.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What the template writes after the assistant's words, such as `<|im_end|>\n`; empty where it does not say.
    pub fn after_reply(&self) -> &str {
        &self.after_reply
    }

    /// The template: its Jinja, or one of the study's with `{instruction}` in the instruction's place.
    pub fn source(&self) -> String {
        self.source.clone()
    }

    /// BLAKE3 of [`ChatTemplate::source`], hexadecimal.
    pub fn blake3(&self) -> String {
        blake3::hash(self.source.as_bytes()).to_hex().to_string()
    }
}

fn render(jinja: &Jinja, instruction: &str, path: &Path) -> Result<String, ChatError> {
    let user = Message { role: "user", content: instruction };
    jinja
        .render(&[user], Ending::GenerationPrompt)
        .map_err(|error| ChatError::Failed { path: path.to_owned(), problem: error.to_string() })
}

/// What the template writes around any instruction.
fn jinja_frame(jinja: &Jinja, path: &Path) -> Result<Frame, ChatError> {
    let wrong = |problem: &str| ChatError::Instruction { path: path.to_owned(), problem: problem.to_owned() };
    let mut frames = Vec::new();
    for stand_in in STAND_INS {
        let rendered = render(jinja, stand_in, path)?;
        let (before, after) =
            rendered.split_once(stand_in).ok_or_else(|| wrong("leaves the instruction out or changes it"))?;
        if after.contains(stand_in) {
            return Err(wrong("repeats the instruction"));
        }
        frames.push(Frame { before: before.to_owned(), after: after.to_owned() });
    }
    let first = frames.swap_remove(0);
    if frames.iter().all(|frame| *frame == first) {
        Ok(first)
    } else {
        Err(wrong("writes something else around one instruction than around another"))
    }
}

/// What the template writes after the assistant's words; empty where it takes no such turn or does not hold it.
fn jinja_after_reply(jinja: &Jinja) -> String {
    let [question, answer] = STAND_INS;
    let turns = [Message { role: "user", content: question }, Message { role: "assistant", content: answer }];
    let rendered = jinja.render(&turns, Ending::Closed).unwrap_or_default();
    rendered.split_once(answer).map(|(_, after)| after.to_owned()).unwrap_or_default()
}

/// Whether `held` is `instruction` with nothing but white space taken away at its ends.
fn is_trimmed(held: &str, instruction: &str) -> bool {
    let around = |text: &str| {
        let core = text.trim_start();
        (text.len() - core.len(), core.trim_end().len())
    };
    let ((before, length), (held_before, held_length)) = (around(instruction), around(held));
    let Some(cut) = before.checked_sub(held_before) else { return false };
    held_length == length && instruction[cut..].starts_with(held)
}

/// The first words of a text, for messages.
fn beginning(text: &str) -> String {
    const SHOWN_CHARACTERS: usize = 60;
    let mut shown: String = text.chars().take(SHOWN_CHARACTERS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trimming_takes_white_space_and_nothing_else() {
        for held in ["  hay \n", "hay", " hay", "hay ", " hay \n"] {
            assert!(is_trimmed(held, "  hay \n"), "{held:?}");
        }
        for held in ["ha", "", "   hay", "hay\n", "Hay", "hay hay", "\nhay"] {
            assert!(!is_trimmed(held, "  hay \n"), "{held:?}");
        }
        // Letters of several bytes at the ends.
        assert!(is_trimmed("é", "\u{3000}é\u{3000}"));
    }
}
