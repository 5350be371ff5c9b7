//! Renders the prompt of an instruction, and locates the instruction in it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::jinja::{Ending, Jinja};
use super::message::{Message, Role};
use super::template_source::{checkpoint_template, special_tokens};
use super::{ChatError, TemplateChoice};

/// A chat template that contains the instruction once and unchanged.
///
/// The instruction is not located by searching for its text, because a template may contain the same words. The
/// template is rendered once with each of two placeholders that no template contains. The text before and after both
/// must be identical, and a rendered instruction must lie between the same two texts.
#[derive(Debug)]
pub struct ChatTemplate {
    /// The file that holds the template, for messages; the name of a study template.
    path: PathBuf,
    source: String,
    /// The text of the checkpoint's BOS token, if its tokenizer's files name one.
    bos: Option<String>,
    form: Form,
    /// The text around the instruction, including BOS.
    frame: Frame,
    /// The text that the template writes after the assistant's reply.
    after_reply: String,
}

/// Messages and the opening of the assistant's turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The text, without the BOS of the sequence.
    pub text: String,
    /// The role of each message and its byte range in `text`, after any trimming by the template, in the order of the
    /// text. A template may put the system message into a user turn.
    pub messages: Vec<(Role, Range<usize>)>,
    /// The text of a BOS that the template writes before `text`. `None` if it writes none; BOS is then added to the
    /// tokens.
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

/// Size limit of an instruction, longer than any context.
const INSTRUCTION_BYTES: usize = 1 << 20;

/// Private-use characters that no tokenizer or template uses, around letters that reveal a change of case.
const STAND_INS: [&str; 2] = ["\u{f8f0}First Stand-in\u{f8f1}", "\u{f8f2}Another of Other Length\u{f8f3}"];

/// Marks around the number of a message that stands for its content.
const MARKS: [char; 2] = ['\u{f8f4}', '\u{f8f5}'];

/// Limit on the number of messages of a conversation.
const MOST_MESSAGES: usize = 4096;

impl ChatTemplate {
    /// Reads a template and checks that it contains the instruction. `checkpoint` is the folder of the template and of
    /// the tokenizer files that name the special tokens.
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

    /// Renders one user turn and the opening of the assistant's turn.
    ///
    /// A template may trim the instruction, as Gemma's does. White space at its ends is then not part of the prompt.
    /// Any other change is an error.
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
            Form::Jinja(jinja) => self.rendered(jinja, &[Message::new(Role::User, instruction)])?,
        };
        let held = rendered.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        let Some(held) = held.filter(|held| is_trimmed(held, instruction)) else {
            return Err(self.changes(instruction));
        };
        let instruction = before.len()..before.len() + held.len();
        Ok(self.without_bos(&rendered, vec![(Role::User, instruction)]))
    }

    /// Renders messages, of which the last is not the assistant's, and the opening of the assistant's turn.
    ///
    /// Messages are located like the instruction of [`ChatTemplate::prompt`]: each must be in the text once and unchanged
    /// but for white space around it.
    pub fn dialogue(&self, messages: &[Message]) -> Result<Prompt, ChatError> {
        if let [Message { role: Role::User, content }] = messages {
            return self.prompt(content);
        }
        if messages.iter().all(|message| message.role != Role::User || message.content.trim().is_empty()) {
            return Err(ChatError::EmptyInstruction);
        }
        let bytes = messages.iter().map(|message| message.content.len()).sum();
        if bytes > INSTRUCTION_BYTES {
            return Err(ChatError::LongInstruction { bytes, limit: INSTRUCTION_BYTES });
        }
        if messages.len() > MOST_MESSAGES {
            return Err(ChatError::ManyMessages { messages: messages.len(), limit: MOST_MESSAGES });
        }
        let Form::Jinja(jinja) = &self.form else {
            return Err(ChatError::OneTurn { path: self.path.clone(), messages: messages.len() });
        };
        let frame = self.message_frame(jinja, messages)?;
        let rendered = self.rendered(jinja, messages)?;
        let mut at = frame.before.len();
        let mut rest = rendered.strip_prefix(&frame.before).ok_or_else(|| self.changes(&messages[0].content))?;
        let mut held = Vec::new();
        for (number, (index, after)) in frame.messages.iter().enumerate() {
            let Message { role, content } = &messages[*index];
            let is_last = number + 1 == frame.messages.len();
            let forms = [content.as_str(), content.trim_end(), content.trim_start(), content.trim()];
            let fits = |form: &&str| {
                let follows = rest.strip_prefix(*form).and_then(|rest| rest.strip_prefix(after.as_str()));
                follows.is_some_and(|rest| !is_last || rest.is_empty())
            };
            let form = forms.into_iter().find(fits).ok_or_else(|| self.changes(content))?;
            held.push((*role, at..at + form.len()));
            at += form.len() + after.len();
            rest = &rest[form.len() + after.len()..];
        }
        Ok(self.without_bos(&rendered, held))
    }

    /// Takes the BOS that the template writes off a rendered prompt.
    fn without_bos(&self, rendered: &str, messages: Vec<(Role, Range<usize>)>) -> Prompt {
        let start = messages.first().map_or(0, |(_, bytes)| bytes.start);
        let (cut, written_bos) = match &self.bos {
            Some(bos) if !bos.is_empty() && rendered[..start].starts_with(bos.as_str()) => {
                (bos.len(), Some(bos.clone()))
            }
            _ => (0, None),
        };
        let messages = messages.into_iter().map(|(role, bytes)| (role, bytes.start - cut..bytes.end - cut)).collect();
        Prompt { text: rendered[cut..].to_owned(), messages, written_bos }
    }

    fn rendered(&self, jinja: &Jinja, messages: &[Message]) -> Result<String, ChatError> {
        render(jinja, messages, &self.path)
    }

    /// Returns the error about a message that the template does not leave as it is.
    fn changes(&self, content: &str) -> ChatError {
        let problem = format!("changes itself or the message for {:?}", beginning(content));
        ChatError::Instruction { path: self.path.clone(), problem }
    }

    /// Returns the text that the template writes around messages of these roles.
    fn message_frame(&self, jinja: &Jinja, messages: &[Message]) -> Result<MessageFrame, ChatError> {
        let wrong = |problem: String| ChatError::Instruction { path: self.path.clone(), problem };
        let [open, close] = MARKS;
        let stand_in = |(number, message): (usize, &Message)| {
            Message::new(message.role, format!("{open}{number} Stand-in{close}"))
        };
        let stand_ins: Vec<Message> = messages.iter().enumerate().map(stand_in).collect();
        let rendered = self.rendered(jinja, &stand_ins)?;
        let mut pieces = rendered.split(open);
        let mut frame = MessageFrame { before: pieces.next().unwrap_or_default().to_owned(), messages: Vec::new() };
        let mut missing: BTreeSet<usize> = (0..messages.len()).collect();
        for piece in pieces {
            let (content, after) = piece.split_once(close).unwrap_or((piece, ""));
            let number = content.strip_suffix(" Stand-in").and_then(|number| number.parse().ok());
            let number = number.ok_or_else(|| wrong("changes a message".to_owned()))?;
            if !missing.remove(&number) {
                return Err(wrong(format!("repeats message {number}")));
            }
            frame.messages.push((number, after.to_owned()));
        }
        match missing.first() {
            None => Ok(frame),
            Some(number) => {
                let role = messages[*number].role.as_str();
                Err(wrong(format!("leaves out message {number} ({role}, counted from 0)")))
            }
        }
    }

    /// Returns the file that holds the template, for messages; the name of a study template.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the text that the template writes after the reply, such as `<|im_end|>\n`; empty if unknown.
    pub fn after_reply(&self) -> &str {
        &self.after_reply
    }

    /// Returns the template: its Jinja source, or a study template with `{instruction}` as the placeholder.
    pub fn source(&self) -> String {
        self.source.clone()
    }

    /// Returns the BLAKE3 hash of [`ChatTemplate::source`] in hexadecimal.
    pub fn blake3(&self) -> String {
        blake3::hash(self.source.as_bytes()).to_hex().to_string()
    }
}

/// What a template writes around messages.
struct MessageFrame {
    before: String,
    /// The index of each message, in the order of the text, and what follows it.
    messages: Vec<(usize, String)>,
}

fn render(jinja: &Jinja, messages: &[Message], path: &Path) -> Result<String, ChatError> {
    jinja
        .render(messages, Ending::GenerationPrompt)
        .map_err(|error| ChatError::Failed { path: path.to_owned(), problem: error.to_string() })
}

/// Returns the text that the template writes around any instruction.
fn jinja_frame(jinja: &Jinja, path: &Path) -> Result<Frame, ChatError> {
    let wrong = |problem: &str| ChatError::Instruction { path: path.to_owned(), problem: problem.to_owned() };
    let mut frames = Vec::new();
    for stand_in in STAND_INS {
        let rendered = render(jinja, &[Message::new(Role::User, stand_in)], path)?;
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

/// Returns the text that the template writes after the reply; empty if the template accepts no assistant turn, or does
/// not contain the reply.
fn jinja_after_reply(jinja: &Jinja) -> String {
    let [question, answer] = STAND_INS;
    let turns = [Message::new(Role::User, question), Message::new(Role::Assistant, answer)];
    let rendered = jinja.render(&turns, Ending::Closed).unwrap_or_default();
    rendered.split_once(answer).map(|(_, after)| after.to_owned()).unwrap_or_default()
}

/// Returns whether `held` is `instruction` with only white space trimmed at its ends.
fn is_trimmed(held: &str, instruction: &str) -> bool {
    let around = |text: &str| {
        let core = text.trim_start();
        (text.len() - core.len(), core.trim_end().len())
    };
    let ((before, length), (held_before, held_length)) = (around(instruction), around(held));
    let Some(cut) = before.checked_sub(held_before) else { return false };
    held_length == length && instruction[cut..].starts_with(held)
}

/// Returns the beginning of a text, for messages.
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
        // Multi-byte characters at the ends.
        assert!(is_trimmed("é", "\u{3000}é\u{3000}"));
    }
}
