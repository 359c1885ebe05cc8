//! Ids: an entry of a project's table is identified by its index there. Each table has its own id type, so an id cannot
//! be used with another table.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// An index into a table.
pub(crate) trait Id: Copy {
    /// Returns the id of the entry at `index`, from 0.
    fn new(index: usize) -> Self;

    /// Returns the index of its entry, from 0.
    fn index(self) -> usize;
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(u32);

        impl Id for $name {
            fn new(index: usize) -> Self {
                // No table comes near this limit: hosts, nodes and parameters have lower limits.
                Self(u32::try_from(index).unwrap_or(u32::MAX))
            }

            fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

ids! {
    /// A host of the inventory, in the order written.
    HostId;
    /// A group of the inventory, in the order of first appearance.
    GroupId;
    /// An `on` block of the inventory, in the order written.
    BlockId;
    /// A kind of resource.
    KindId;
    /// A module.
    ModuleId;
    /// A resource, or a call of a module, that is equal on every host.
    ConstantId;
    /// A parameter of one schema, in its order.
    ParamId;
    /// A child of one schema, in its order.
    ChildId;
    /// A variable of one host.
    VariableId;
    /// A `host` node of the inventory, in the order written. With a range it defines several hosts.
    DeclaredHostId;
    /// A resource of one host that is not in the catalog yet, in reading order.
    EntryId;
}

/// A table with its own id type.
#[derive(Clone, Debug)]
pub(crate) struct Table<I, T> {
    items: Vec<T>,
    of: PhantomData<fn(I)>,
}

impl<I: Id, T> Table<I, T> {
    /// Adds an entry and returns its id.
    pub(crate) fn push(&mut self, item: T) -> I {
        self.items.push(item);
        I::new(self.items.len() - 1)
    }

    /// Returns the number of entries.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are no entries.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns the ids of all entries, in order.
    pub(crate) fn ids(&self) -> impl DoubleEndedIterator<Item = I> + ExactSizeIterator + use<I, T> {
        (0..self.items.len()).map(I::new)
    }

    /// Returns all entries, in order.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.items.iter()
    }

    /// Returns all entries mutably, in order.
    pub(crate) fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.items.iter_mut()
    }

    /// Returns all entries with their ids.
    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = (I, &T)> {
        self.items.iter().enumerate().map(|(index, item)| (I::new(index), item))
    }

    /// Returns the entry, if the table has it.
    pub(crate) fn get(&self, id: I) -> Option<&T> {
        self.items.get(id.index())
    }

    /// Returns the first entry for which `is` returns true.
    pub(crate) fn find(&self, is: impl Fn(&T) -> bool) -> Option<I> {
        self.items.iter().position(is).map(I::new)
    }

    /// Returns all entries as a slice.
    pub(crate) fn as_slice(&self) -> &[T] {
        &self.items
    }
}

impl<I, T> IntoIterator for Table<I, T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl<I, T> Default for Table<I, T> {
    fn default() -> Self {
        Self { items: Vec::new(), of: PhantomData }
    }
}

impl<I, T> FromIterator<T> for Table<I, T> {
    fn from_iter<A: IntoIterator<Item = T>>(items: A) -> Self {
        Self { items: items.into_iter().collect(), of: PhantomData }
    }
}

impl<I: Id, T> Index<I> for Table<I, T> {
    type Output = T;

    fn index(&self, id: I) -> &T {
        &self.items[id.index()]
    }
}

impl<I: Id, T> IndexMut<I> for Table<I, T> {
    fn index_mut(&mut self, id: I) -> &mut T {
        &mut self.items[id.index()]
    }
}

impl<'a, I: Id, T> IntoIterator for &'a Table<I, T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
