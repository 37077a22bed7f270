//! Reads JUnit files of any tool. A file that is cut off, or whose numbers do not agree with its tests, is an error and never zero tests.
//! Nothing is expanded: a reference to an entity that the file defines itself is an error too.

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};

use super::{
    CheckResults, Place, TestOutcome, TestResult,
    text::{Budget, End, failure, short},
};

/// Suites that may lie inside each other.
const DEPTH_MAX: usize = 64;

/// Reads the tests of a JUnit file, adding them to the results. Reports what is wrong with the file.
pub fn read_junit(text: &str, results: &mut CheckResults) -> Result<(), String> {
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut file = File::default();
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(start) => file.begin(&start)?,
            Event::Empty(start) => {
                file.begin(&start)?;
                file.end(results)?;
            }
            Event::End(_) => file.end(results)?,
            Event::Text(text) => file.text(text.as_ref()),
            Event::CData(text) => file.text(text.as_ref()),
            Event::GeneralRef(name) => {
                let resolved = name.resolve_char_ref().map_err(|error| error.to_string())?;
                match resolved.map(String::from).or_else(|| predefined(name.as_ref())) {
                    Some(text) => file.text(&text),
                    None => {
                        return Err(format!(
                            "it refers to `&{};`, which is not expanded",
                            short(name.as_ref())
                        ));
                    }
                }
            }
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    file.finish()
}

fn predefined(name: &str) -> Option<String> {
    quick_xml::escape::resolve_predefined_entity(name).map(str::to_owned)
}

#[derive(Debug, Default)]
struct File {
    open: Vec<Element>,
    suites: Vec<Suite>,
    case: Option<Case>,
    budget: Budget,
    has_root: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Suite,
    Case,
    Failure,
    Skipped,
    Flaky,
    Out,
    Err,
    Other,
}

#[derive(Debug)]
struct Suite {
    name: String,
    claimed: Option<u64>,
    own: u64,
    all: u64,
}

#[derive(Debug)]
struct Case {
    test: TestResult,
    why: End,
    out: End,
    err: End,
    has_err: bool,
}

impl File {
    fn begin(&mut self, start: &BytesStart) -> Result<(), String> {
        let name = start.name();
        let element = match name.as_ref() {
            "testsuites" | "testsuite" | "testrun" => Element::Suite,
            "testcase" => Element::Case,
            "failure" | "error" if self.case.is_some() => Element::Failure,
            "skipped" if self.case.is_some() => Element::Skipped,
            "flakyFailure" | "flakyError" if self.case.is_some() => Element::Flaky,
            "system-out" => Element::Out,
            "system-err" => Element::Err,
            _ => Element::Other,
        };
        if self.open.len() >= DEPTH_MAX {
            return Err(format!("its elements lie more than {DEPTH_MAX} deep"));
        }
        if self.open.is_empty() && !self.has_root {
            self.has_root = element == Element::Suite;
            if !self.has_root {
                return Err(format!(
                    "it begins with <{}>, not with <testsuites>",
                    short(name.as_ref())
                ));
            }
        }
        match element {
            Element::Suite => self.begin_suite(start)?,
            Element::Case => self.begin_case(start)?,
            Element::Failure | Element::Skipped | Element::Flaky => self.begin_status(element, start)?,
            Element::Out | Element::Err | Element::Other => {}
        }
        self.open.push(element);
        Ok(())
    }

    fn begin_suite(&mut self, start: &BytesStart) -> Result<(), String> {
        let name = attribute(start, "name")?.unwrap_or_default();
        let claimed = match attribute(start, "tests")?.filter(|text| !text.trim().is_empty()) {
            Some(text) => Some(text.trim().parse().map_err(|_| {
                format!(
                    "`tests=\"{}\"` of suite {} is no number",
                    short(&text),
                    short(&name)
                )
            })?),
            None => None,
        };
        self.suites.push(Suite {
            name: short(&name),
            claimed,
            own: 0,
            all: 0,
        });
        Ok(())
    }

    fn begin_case(&mut self, start: &BytesStart) -> Result<(), String> {
        let suite = self.suites.last().map_or("", |suite| suite.name.as_str());
        let class = attribute(start, "classname")?.unwrap_or_default();
        let name = attribute(start, "name")?.unwrap_or_default();
        let seconds = attribute(start, "time")?
            .and_then(|text| text.replace(',', "").trim().parse::<f64>().ok())
            .filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
        let line = attribute(start, "line")?.and_then(|line| line.parse().ok());
        let place = attribute(start, "file")?.map(|file| Place {
            file: short(&file),
            line: line.unwrap_or(1),
            column: None,
        });
        self.case = Some(Case {
            test: TestResult {
                suite: if class.is_empty() {
                    suite.to_owned()
                } else {
                    short(&class)
                },
                name: if name.is_empty() {
                    "(no name)".to_owned()
                } else {
                    short(&name)
                },
                outcome: TestOutcome::Passed,
                seconds,
                message: None,
                output: String::new(),
                place,
            },
            why: End::default(),
            out: End::default(),
            err: End::default(),
            has_err: false,
        });
        Ok(())
    }

    fn begin_status(&mut self, element: Element, start: &BytesStart) -> Result<(), String> {
        let message = attribute(start, "message")?.filter(|text| !text.trim().is_empty());
        let kind = attribute(start, "type")?.filter(|text| !text.trim().is_empty());
        let Some(case) = &mut self.case else {
            return Ok(());
        };
        let (outcome, message) = match element {
            Element::Failure => (TestOutcome::Failed, message.or(kind)),
            Element::Skipped => (TestOutcome::Ignored, message),
            _ => (
                TestOutcome::Passed,
                Some("flaky: did not pass at its first try".to_owned()),
            ),
        };
        // The order of `TestOutcome`: a failure beats what else is said of the test.
        if outcome <= case.test.outcome {
            case.test.outcome = outcome;
            case.test.message = message.map(|text| short(text.lines().next().unwrap_or_default()));
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        let (Some(element), Some(case)) = (self.open.last(), &mut self.case) else {
            return;
        };
        match element {
            Element::Failure => case.why.push_text(text),
            Element::Out => case.out.push_text(text),
            Element::Err => {
                case.has_err |= !text.trim().is_empty();
                case.err.push_text(text);
            }
            Element::Suite | Element::Case | Element::Skipped | Element::Flaky | Element::Other => {}
        }
    }

    fn end(&mut self, results: &mut CheckResults) -> Result<(), String> {
        match self.open.pop() {
            Some(Element::Case) => self.end_case(results),
            Some(Element::Suite) => self.end_suite()?,
            _ => {}
        }
        Ok(())
    }

    fn end_case(&mut self, results: &mut CheckResults) {
        let Some(case) = self.case.take() else { return };
        if let Some(suite) = self.suites.last_mut() {
            suite.own += 1;
            suite.all += 1;
        }
        let mut test = case.finish();
        test.output = self.budget.keep(test.output);
        results.add_test(test);
    }

    fn end_suite(&mut self) -> Result<(), String> {
        let Some(suite) = self.suites.pop() else {
            return Ok(());
        };
        if let Some(outer) = self.suites.last_mut() {
            outer.all += suite.all;
        }
        match suite.claimed {
            // Some tools count the tests of inner suites, some do not.
            Some(claimed) if claimed != suite.all && claimed != suite.own => Err(format!(
                "suite {} says it has {claimed} tests, but {} are there",
                if suite.name.is_empty() {
                    "(no name)"
                } else {
                    &suite.name
                },
                suite.all
            )),
            _ => Ok(()),
        }
    }

    fn finish(self) -> Result<(), String> {
        if !self.has_root {
            return Err("it is empty".to_owned());
        }
        if !self.open.is_empty() {
            return Err("it is cut off".to_owned());
        }
        Ok(())
    }
}

impl Case {
    fn finish(self) -> TestResult {
        let mut test = self.test;
        if !test.outcome.is_bad() {
            return test;
        }
        let why = self.why.finish();
        let (place, message) = failure(&why);
        if place.is_some() {
            // Behind a place comes the reason itself; the tool's own message often is the place.
            test.message = message;
        } else {
            test.message = test.message.or(message);
        }
        test.place = place.or(test.place);
        let mut parts = vec![why];
        if self.has_err && !parts[0].contains(self.err.begin()) {
            parts.push(self.err.finish());
        }
        parts.push(self.out.finish());
        parts.retain(|part| !part.is_empty());
        test.output = parts.join("\n\n");
        test
    }
}

fn attribute(start: &BytesStart, name: &str) -> Result<Option<String>, String> {
    let found = start.try_get_attribute(name).map_err(|error| error.to_string())?;
    match found {
        Some(attribute) => attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map(|value| Some(value.into_owned()))
            .map_err(|error| error.to_string()),
        None => Ok(None),
    }
}
