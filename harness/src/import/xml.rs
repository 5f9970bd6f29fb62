//! The XML of a scenario: read within bounds, every element and attribute known or refused by name. Pure.
//!
//! Nothing is fetched: a document type is passed over, and entities, which could make a small file large, are refused.

use std::fmt::Display;

use roxmltree::{Document, Node, ParsingOptions};

use super::Refused;

/// Scenarios are written by hand or by small scripts; a hundred client hosts are 10 kB.
pub(super) const BYTES_MAX: usize = 1 << 20;
const NODES_MAX: u32 = 100_000;

/// Reads a document. `file` is how errors call it.
pub(super) fn parse<'a>(file: &str, text: &'a str) -> Result<Document<'a>, Refused> {
    let refused = |line, what: String, remedy: &str| Refused { file: file.into(), line, what, remedy: remedy.into() };
    if text.len() > BYTES_MAX {
        return Err(refused(1, format!("the file has more than {BYTES_MAX} bytes"), "give a scenario of Tsung"));
    }
    if let Some(at) = text.find("<!ENTITY") {
        let line = text[..at].matches('\n').count() + 1;
        let what = "<!ENTITY>: entities and the files that they name are not read".to_owned();
        return Err(refused(line, what, "write what it stands for where it is used, and take it out, of comments too"));
    }
    let options = ParsingOptions { allow_dtd: true, nodes_limit: NODES_MAX, ..ParsingOptions::default() };
    Document::parse_with_options(text, options).map_err(|error| {
        let line = error.pos().row as usize;
        refused(line, format!("this is not XML that can be read: {error}"), "mend it; Tsung reads it no better")
    })
}

/// An element whose attributes are all known.
#[derive(Clone, Copy)]
pub(super) struct Element<'a> {
    node: Node<'a, 'a>,
    file: &'a str,
}

impl<'a> Element<'a> {
    /// The root, which must be of this name.
    pub(super) fn root(document: &'a Document<'a>, file: &'a str, name: &str, known: &[&str]) -> Result<Self, Refused> {
        let element = Self { node: document.root_element(), file };
        if element.name() != name {
            return Err(element.refuse("this is no scenario of Tsung", format!("its first element is <{name}>")));
        }
        element.with(known)
    }

    /// The same, when it has no attribute but these.
    pub(super) fn with(self, known: &[&str]) -> Result<Self, Refused> {
        for attribute in self.node.attributes() {
            if attribute.namespace().is_some() || !known.contains(&attribute.name()) {
                let what = format!("attribute `{}` has no counterpart", plain(attribute.name()));
                return Err(self.refuse_at(attribute.range().start, what, "take it out"));
            }
        }
        Ok(self)
    }

    pub(super) fn name(self) -> &'a str {
        self.node.tag_name().name()
    }

    pub(super) fn line(self) -> usize {
        self.line_at(self.node.range().start)
    }

    fn line_at(self, offset: usize) -> usize {
        self.node.document().text_pos_at(offset).row as usize
    }

    /// The elements inside. Text between them is refused.
    pub(super) fn children(self) -> Result<Vec<Self>, Refused> {
        let mut children = Vec::new();
        for node in self.node.children() {
            if node.is_element() {
                children.push(Self { node, file: self.file });
            } else if node.is_text() && !node.text().unwrap_or_default().trim().is_empty() {
                return Err(self.refuse_at(node.range().start, "text where only elements belong", "take it out"));
            }
        }
        Ok(children)
    }

    /// Refuses elements inside.
    pub(super) fn childless(self) -> Result<(), Refused> {
        self.children()?.first().map_or(Ok(()), |child| Err(child.unknown()))
    }

    /// All text inside.
    pub(super) fn text(self) -> Result<String, Refused> {
        if let Some(node) = self.node.children().find(Node::is_element) {
            return Err(Self { node, file: self.file }.unknown());
        }
        Ok(self.node.children().filter(Node::is_text).filter_map(|node| node.text()).collect())
    }

    pub(super) fn attribute(self, name: &str) -> Option<&'a str> {
        self.node.attribute(name)
    }

    pub(super) fn required(self, name: &str) -> Result<&'a str, Refused> {
        self.attribute(name).ok_or_else(|| self.refuse(format!("attribute `{name}` is missing"), "write it"))
    }

    /// A number of zero or more, in the forms that Tsung reads; none where the attribute is left out.
    pub(super) fn number(self, name: &str) -> Result<Option<f64>, Refused> {
        let Some(text) = self.attribute(name) else { return Ok(None) };
        let number = text.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
        number.map(Some).ok_or_else(|| self.refuse_value(name, "a number of zero or more"))
    }

    /// A whole number; none where the attribute is left out.
    pub(super) fn whole<N: std::str::FromStr>(self, name: &str) -> Result<Option<N>, Refused> {
        let Some(text) = self.attribute(name) else { return Ok(None) };
        text.trim().parse().map(Some).map_err(|_| self.refuse_value(name, "a whole number that is in range"))
    }

    /// `true` or `false`; none where the attribute is left out.
    pub(super) fn flag(self, name: &str) -> Result<Option<bool>, Refused> {
        match self.attribute(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(self.refuse_value(name, "\"true\" or \"false\"")),
        }
    }

    /// Seconds of a unit that is written out.
    pub(super) fn unit_s(self) -> Result<f64, Refused> {
        match self.required("unit")? {
            "hour" => Ok(3_600.0),
            "minute" => Ok(60.0),
            "second" => Ok(1.0),
            "millisecond" => Ok(0.001),
            _ => Err(self.refuse_value("unit", "\"hour\", \"minute\", \"second\" or \"millisecond\"")),
        }
    }

    /// What is wrong with this element, and the remedy.
    pub(super) fn refuse(self, what: impl Display, remedy: impl Into<String>) -> Refused {
        self.refuse_at(self.node.range().start, what, remedy)
    }

    /// This element has no counterpart and may not be passed over.
    pub(super) fn unknown(self) -> Refused {
        self.refuse("this element has no counterpart", "take it out")
    }

    /// The value of an attribute is not one of those that are understood.
    pub(super) fn refuse_value(self, name: &str, expected: &str) -> Refused {
        let what = format!("attribute `{name}` is \"{}\"", plain(self.attribute(name).unwrap_or_default()));
        self.refuse_attribute(name, what, format!("write {expected}"))
    }

    /// As [`Self::refuse`], at the line of an attribute.
    pub(super) fn refuse_attribute(self, name: &str, what: impl Display, remedy: impl Into<String>) -> Refused {
        let attribute = self.node.attribute_node(name);
        self.refuse_at(attribute.map_or(self.node.range().start, |a| a.range().start), what, remedy)
    }

    fn refuse_at(self, offset: usize, what: impl Display, remedy: impl Into<String>) -> Refused {
        Refused {
            file: self.file.into(),
            line: self.line_at(offset),
            what: format!("<{}>: {what}", plain(self.name())),
            remedy: remedy.into(),
        }
    }
}

/// Text of a scenario as it may stand in a line of a message or a comment.
pub(super) fn plain(text: &str) -> String {
    const CHARS_MAX: usize = 100;
    let mut plain: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(CHARS_MAX + 1).collect::<String>();
    if plain.chars().count() > CHARS_MAX {
        plain = plain.chars().take(CHARS_MAX).chain(['…']).collect();
    }
    plain
}
