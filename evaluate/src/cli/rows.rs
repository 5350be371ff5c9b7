//! Which rows count, and as what: options that `run`, `latents`, `train` and `finetune` share.

use clap::Args;
use hayloft_rows::{ExcludeChoice, OutlierNorm, ScaleChoice, SectionChoice};

/// The help texts stand beside the parsers.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct RowArguments {
    #[arg(long = "section", value_name = "SECTION", value_delimiter = ',', help = SectionChoice::HELP)]
    pub sections: Vec<SectionChoice>,
    #[arg(long, default_value_t, value_name = "TOKENS", help = ExcludeChoice::HELP)]
    pub exclude: ExcludeChoice,
    #[arg(long, value_name = "NORM", help = OutlierNorm::HELP)]
    pub outlier_norm: Option<OutlierNorm>,
    #[arg(long, value_name = "SCALE", help = ScaleChoice::HELP)]
    pub scale: Option<ScaleChoice>,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::{Arguments, Command};

    const COMMANDS: [&str; 4] = [
        "run --cache c --sae s",
        "latents --cache c --sae s --out o",
        "train --cache c --site blocks.1.hook_resid_pre --architecture topk --k 8 --width 64 --tokens 8192 --out o",
        "finetune --cache c --sae s --model m --tokens 8192 --out o",
    ];

    fn rows(command: &str, option: &str) -> Result<RowArguments, String> {
        let words = ["evaluate"].into_iter().chain(command.split(' ')).chain([option]);
        match Arguments::try_parse_from(words).map_err(|error| error.to_string())?.command {
            Command::Run(arguments) => Ok(arguments.rows),
            Command::Latents(arguments) => Ok(arguments.rows),
            Command::Train(arguments) => Ok(arguments.course.rows),
            Command::Finetune(arguments) => Ok(arguments.course.rows),
            _ => panic!("another command"),
        }
    }

    #[test]
    fn four_commands_take_the_same_values() {
        for option in [
            "--section=all",
            "--section=text",
            "--section=rollout,user_prompt",
            "--exclude=special",
            "--exclude=bos",
            "--exclude=none",
            "--outlier-norm=200",
            "--outlier-norm=870raw",
            "--outlier-norm=10xmedian",
            "--scale=auto",
            "--scale=none",
            "--scale=0.5",
        ] {
            let [run, latents, train, finetune] =
                COMMANDS.map(|command| rows(command, option).unwrap_or_else(|error| panic!("{option}: {error}")));
            assert!(run == latents && latents == train && train == finetune, "{option}");
        }
        let two = rows(COMMANDS[1], "--section=rollout,user_prompt").unwrap().sections;
        assert_eq!(two.iter().map(SectionChoice::to_string).collect::<Vec<_>>(), ["rollout", "user_prompt"]);
    }

    #[test]
    fn four_commands_refuse_the_same_values() {
        for (option, words) in [
            ("--section=everything", "user_prompt"),
            ("--section=rolout", "Did you mean rollout?"),
            ("--exclude=eos", "special, bos or none"),
            ("--outlier-norm=0", "10xmedian"),
            ("--outlier-norm=10median", "10xmedian"),
            ("--scale=big", "auto, none or a number above zero"),
        ] {
            for command in COMMANDS {
                let message = rows(command, option).unwrap_err();
                assert!(message.contains(words), "{command} {option}: {message}");
            }
        }
    }

    #[test]
    fn four_commands_say_the_same_of_them() {
        let command = Arguments::command();
        let help = |name: &str, option: &str| {
            let command = command.find_subcommand(name).unwrap();
            let found = command.get_arguments().find(|argument| argument.get_long() == Some(option)).unwrap();
            found.get_help().unwrap().to_string()
        };
        for option in ["section", "exclude", "outlier-norm", "scale"] {
            assert_eq!(help("run", option), help("latents", option));
            assert_eq!(help("run", option), help("train", option));
            assert_eq!(help("run", option), help("finetune", option));
        }
    }
}
