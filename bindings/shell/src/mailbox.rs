//! Commands of other threads and tasks on their way to a hub, bounded.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::Wake;
use crate::gate::Gate;

/// A bounded queue of commands, which wakes the worker that takes them.
#[derive(Debug)]
pub struct Mailbox<T> {
    queue: Gate<Queue<T>>,
    commands_max: usize,
    wake: Arc<Wake>,
}

#[derive(Debug)]
struct Queue<T> {
    commands: VecDeque<T>,
    is_closed: bool,
}

impl<T> Queue<T> {
    /// Takes the command, if there is room and unless there will never be any.
    fn push(&mut self, command: &mut Option<T>, commands_max: usize) -> Option<Result<(), T>> {
        if self.is_closed {
            return command.take().map(Err);
        }
        if self.commands.len() >= commands_max {
            return None;
        }
        self.commands.extend(command.take());
        Some(Ok(()))
    }
}

impl<T> Mailbox<T> {
    /// A mailbox for `commands_max` commands, at least one.
    pub fn new(commands_max: usize, wake: Arc<Wake>) -> Self {
        let queue = Queue { commands: VecDeque::new(), is_closed: false };
        Self { queue: Gate::new(queue), commands_max: commands_max.max(1), wake }
    }

    /// Posts a command; blocks while there is no room.
    ///
    /// # Errors
    /// The mailbox is closed; here is the command back.
    pub fn post(&self, command: T) -> Result<(), T> {
        self.post_until(command, None).expect("it waits without a deadline")
    }

    /// Posts a command; blocks while there is no room, until `deadline`, if there is one: `None`.
    ///
    /// # Errors
    /// The mailbox is closed; here is the command back.
    pub fn post_until(&self, command: T, deadline: Option<Instant>) -> Option<Result<(), T>> {
        let mut command = Some(command);
        let posted = self.queue.block(deadline, |queue| queue.push(&mut command, self.commands_max))?;
        Some(posted.inspect(|()| self.wake.wake()))
    }

    /// Posts a command; waits while there is no room. Dropped before it is done, the command was not posted.
    ///
    /// # Errors
    /// The mailbox is closed; here is the command back.
    pub async fn post_async(&self, command: T) -> Result<(), T> {
        let mut command = Some(command);
        let posted = self.queue.until(|queue| queue.push(&mut command, self.commands_max)).await;
        posted.inspect(|()| self.wake.wake())
    }

    /// Posts a command even where there is no room: for commands whose number is bounded otherwise, such as one per lane.
    ///
    /// # Errors
    /// The mailbox is closed; here is the command back.
    pub fn post_bounded_otherwise(&self, command: T) -> Result<(), T> {
        let posted = self.queue.with(|queue| queue.push(&mut Some(command), usize::MAX));
        posted.expect("there is always room").inspect(|()| self.wake.wake())
    }

    /// Takes all commands, exchanging them for an empty queue.
    pub fn take(&self, into: &mut VecDeque<T>) {
        debug_assert!(into.is_empty(), "commands are carried out before more are taken");
        self.queue.change(|queue| {
            std::mem::swap(&mut queue.commands, into);
            ((), !into.is_empty())
        });
    }

    /// Whether there is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.queue.with(|queue| queue.commands.is_empty())
    }

    /// Takes no more commands and drops those that are there, which tells their posters.
    pub fn close(&self) {
        let commands = self.queue.change(|queue| {
            queue.is_closed = true;
            (std::mem::take(&mut queue.commands), true)
        });
        drop(commands);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(commands_max: usize) -> Arc<Mailbox<u32>> {
        Arc::new(Mailbox::new(commands_max, Arc::new(Wake::new(|| {}))))
    }

    #[test]
    fn a_full_mailbox_makes_its_posters_wait_and_loses_nothing() {
        let mailbox = mailbox(4);
        let posters: Vec<_> = (0..4)
            .map(|poster| {
                let mailbox = Arc::clone(&mailbox);
                std::thread::spawn(move || (0..1_000).for_each(|n| mailbox.post(poster * 1_000 + n).unwrap()))
            })
            .collect();
        let (mut all, mut taken) = (Vec::new(), VecDeque::new());
        while all.len() < 4_000 {
            mailbox.take(&mut taken);
            assert!(taken.len() <= 4, "the bound holds");
            all.extend(taken.drain(..));
            std::thread::yield_now();
        }
        posters.into_iter().for_each(|poster| poster.join().unwrap());
        for poster in 0..4 {
            let of_one: Vec<u32> = all.iter().copied().filter(|n| n / 1_000 == poster).collect();
            assert!(of_one.iter().copied().eq(poster * 1_000..(poster + 1) * 1_000), "in order");
        }
    }

    #[test]
    fn a_closed_mailbox_gives_commands_back_and_releases_who_waits() {
        let mailbox = mailbox(1);
        mailbox.post(1).unwrap();
        mailbox.post_bounded_otherwise(2).unwrap();
        assert_eq!(mailbox.post_until(3, Some(Instant::now())), None, "there is no room");
        let waiting = std::thread::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || mailbox.post(3)
        });
        mailbox.close();
        assert_eq!(waiting.join().unwrap(), Err(3));
        assert_eq!(mailbox.post_until(5, Some(Instant::now())), Some(Err(5)));
        assert_eq!(mailbox.post(4), Err(4));
        assert!(mailbox.is_empty());
    }
}
