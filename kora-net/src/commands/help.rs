//! `X HELP` of any container: Redis's first and last lines around the lines of the container's row.

use kora_engine::command::{registry, Command, CommandSpec};
use kora_engine::reply::Reply;

/// Writes the help of the container that `command`, a HELP subcommand, belongs to.
pub(crate) fn write(command: &Command, reply: &mut dyn Reply) {
    let parent = command.parent.expect("HELP is a subcommand");
    write_lines(registry().by_id(parent).spec, reply);
}

/// Writes the help of a row.
pub(crate) fn write_lines(container: &CommandSpec, reply: &mut dyn Reply) {
    reply.array(container.help.len() + 3);
    let name = container.name.to_ascii_uppercase();
    reply.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for line in container.help {
        reply.simple(line);
    }
    reply.simple("HELP");
    reply.simple("    Prints this help.");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::lines;

    #[test]
    fn every_container_explains_each_of_its_subcommands() {
        for container in registry().all().iter().filter(|c| !c.subcommands.is_empty()) {
            let help = container.subcommands.iter().map(|&id| registry().by_id(id));
            let help =
                help.into_iter().find(|sub| sub.spec.name == "help").expect("every container has HELP");
            let text = lines(|reply| write(help, reply));
            for &sub in &container.subcommands {
                let name = registry().by_id(sub).spec.name.to_ascii_uppercase();
                let explained = text.iter().any(|l| l.split([' ', '[']).next() == Some(&format!("+{name}")));
                assert!(explained, "{} {name}", container.full_name);
            }
        }
    }
}
