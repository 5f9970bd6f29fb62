//! Numbered storage in fixed pages, for the two things of which there are millions: connections and memberships.
//!
//! A `Vec` doubles and copies: at a million entries that is up to twice the memory, and a pause while it moves. Here a
//! page never moves, an emptied page is given back to the allocator, and new entries go to the lowest page that has
//! room, so that pages do empty. A slab belongs to one shard and is used on its thread only.

use std::collections::BTreeSet;

/// Bytes of a page: three of the kernel's, less the 16 that the C library puts before what it maps for itself
/// ([`c2m_host::heap::MAPPED_BYTES`]).
const PAGE_BYTES: usize = 3 * 4096 - 16;

/// Marks the end of a page's chain of free entries.
const END: u16 = u16::MAX;

enum Entry<T> {
    /// The next free entry of the same page, or [`END`].
    Free(u16),
    Used(T),
}

struct Page<T> {
    entries: Box<[Entry<T>]>,
    first_free: u16,
    used: u16,
}

impl<T> Page<T> {
    const ENTRIES: usize = PAGE_BYTES / size_of::<Entry<T>>();

    fn new() -> Self {
        const { assert!(Self::ENTRIES > 1 && Self::ENTRIES < END as usize) };
        let next = |i: usize| Entry::Free(if i + 1 == Self::ENTRIES { END } else { i as u16 + 1 });
        Self { entries: (0..Self::ENTRIES).map(next).collect(), first_free: 0, used: 0 }
    }
}

/// A slab. Numbers are reused, the lowest pages first.
pub(crate) struct Slab<T> {
    pages: Vec<Option<Page<T>>>,
    /// Pages that exist and have a free entry.
    with_room: BTreeSet<u32>,
    /// Page numbers below `pages.len()` whose page was given back.
    vacant: BTreeSet<u32>,
    len: usize,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self { pages: Vec::new(), with_room: BTreeSet::new(), vacant: BTreeSet::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of page slots; pages are numbered below it.
    pub(crate) fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Bytes one entry takes, the bookkeeping of its page left aside.
    pub(crate) const fn entry_bytes() -> usize {
        size_of::<Entry<T>>()
    }

    fn page_with_room(&mut self) -> u32 {
        if let Some(&page) = self.with_room.first() {
            return page;
        }
        let page = self.vacant.pop_first().unwrap_or_else(|| {
            self.pages.push(None);
            self.pages.len() as u32 - 1
        });
        self.pages[page as usize] = Some(Page::new());
        self.with_room.insert(page);
        page
    }

    /// Stores `value` and gives its number.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        let number = self.page_with_room();
        let page = self.pages[number as usize].as_mut().expect("a page with room exists");
        let slot = page.first_free;
        let Entry::Free(next) = page.entries[slot as usize] else { unreachable!("the free chain holds free entries") };
        page.entries[slot as usize] = Entry::Used(value);
        page.first_free = next;
        page.used += 1;
        if next == END {
            self.with_room.remove(&number);
        }
        self.len += 1;
        number * Page::<T>::ENTRIES as u32 + u32::from(slot)
    }

    /// Takes the entry out; its page is freed when it was the last.
    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let (at, slot) = Self::split(number);
        let page = self.pages.get_mut(at)?.as_mut()?;
        if matches!(page.entries[slot], Entry::Free(_)) {
            return None;
        }
        let Entry::Used(value) = std::mem::replace(&mut page.entries[slot], Entry::Free(page.first_free)) else {
            unreachable!("checked above");
        };
        page.first_free = slot as u16;
        page.used -= 1;
        self.len -= 1;
        if page.used == 0 {
            self.give_back(at as u32);
        } else if page.used as usize == Page::<T>::ENTRIES - 1 {
            self.with_room.insert(at as u32);
        }
        Some(value)
    }

    fn give_back(&mut self, page: u32) {
        self.pages[page as usize] = None;
        self.with_room.remove(&page);
        self.vacant.insert(page);
        while matches!(self.pages.last(), Some(None)) {
            self.pages.pop();
            self.vacant.remove(&(self.pages.len() as u32));
        }
    }

    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        let (at, slot) = Self::split(number);
        match &self.pages.get(at)?.as_ref()?.entries[slot] {
            Entry::Used(value) => Some(value),
            Entry::Free(_) => None,
        }
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let (at, slot) = Self::split(number);
        match &mut self.pages.get_mut(at)?.as_mut()?.entries[slot] {
            Entry::Used(value) => Some(value),
            Entry::Free(_) => None,
        }
    }

    /// The entries of one page, in order.
    pub(crate) fn page(&self, page: usize) -> impl Iterator<Item = (u32, &T)> {
        let entries = self.pages.get(page).and_then(Option::as_ref).map(|page| page.entries.iter());
        entries.into_iter().flatten().enumerate().filter_map(move |(slot, entry)| match entry {
            Entry::Used(value) => Some(((page * Page::<T>::ENTRIES + slot) as u32, value)),
            Entry::Free(_) => None,
        })
    }

    fn split(number: u32) -> (usize, usize) {
        (number as usize / Page::<T>::ENTRIES, number as usize % Page::<T>::ENTRIES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE_ENTRIES: usize = Page::<u32>::ENTRIES;

    #[test]
    fn numbers_are_unique_and_reused() {
        let mut slab = Slab::new();
        let numbers: Vec<u32> = (0..1000).map(|i| slab.insert(i)).collect();
        assert_eq!(numbers, (0..1000).collect::<Vec<u32>>());
        assert_eq!(slab.remove(300), Some(300));
        assert_eq!(slab.remove(300), None);
        assert_eq!(slab.get(300), None);
        assert_eq!(slab.insert(7), 300);
        assert_eq!(slab.get(300), Some(&7));
        assert_eq!(slab.len(), 1000);
    }

    #[test]
    fn emptied_pages_are_given_back_and_come_again() {
        let mut slab = Slab::new();
        let numbers: Vec<u32> = (0..10 * PAGE_ENTRIES as u32).map(|i| slab.insert(i)).collect();
        assert_eq!(slab.pages(), 10);
        for number in &numbers[PAGE_ENTRIES..] {
            slab.remove(*number);
        }
        assert_eq!(slab.pages(), 1);
        for number in &numbers[..PAGE_ENTRIES] {
            slab.remove(*number);
        }
        assert!(slab.is_empty());
        assert_eq!((slab.pages(), slab.with_room.len(), slab.vacant.len()), (0, 0, 0));
        assert_eq!(slab.insert(1), 0);
    }

    #[test]
    fn a_page_in_the_middle_is_refilled_before_a_new_one_is_made() {
        let mut slab = Slab::new();
        for i in 0..3 * PAGE_ENTRIES as u32 {
            slab.insert(i);
        }
        for number in PAGE_ENTRIES..2 * PAGE_ENTRIES {
            slab.remove(number as u32);
        }
        assert!(slab.page(1).next().is_none());
        assert_eq!(slab.insert(5), PAGE_ENTRIES as u32);
        assert_eq!(slab.page(1).collect::<Vec<_>>(), [(PAGE_ENTRIES as u32, &5)]);
        assert_eq!(slab.pages(), 3);
    }
}
