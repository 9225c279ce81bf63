//! The extended protocol: prepared statements and portals.

use super::connection::Connection;
use super::error::Failure;
use super::message::{Bind, Target};
use super::oid;
use super::parameters::{self, ParameterType};
use super::prepared::{PORTALS_MAX, PREPARED_STATEMENTS_MAX, Portal, PortalState, Prepared};
use super::reply::{send_done, send_rows_tag};
use super::rows::{RowCursor, RowShape};
use crate::frontend::{Description, Outcome, PreparedStatement, Statement};
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
use pgwire::messages::response::EmptyQueryResponse;
use slipher_common::sql_type::VARCHAR_LENGTH_MAX_BYTES;
use slipher_common::{Error, ErrorKind, Result, SqlType};
use std::sync::Arc;

fn no_portal(name: &str) -> Error {
    Error::new(ErrorKind::InvalidCursorName, format!("portal \"{name}\" does not exist"))
}

/// The types of a statement's parameters: declared ones as declared, the others as the statement wants them.
fn parameter_types(oids: &[u32], declared: &[Option<SqlType>], described: &[SqlType]) -> Vec<ParameterType> {
    let open = SqlType::VarChar(VARCHAR_LENGTH_MAX_BYTES);
    (0..declared.len().max(described.len()))
        .map(|index| match declared.get(index).copied().flatten() {
            Some(sql_type) => ParameterType { oid: oids[index], sql_type },
            None => {
                let sql_type = described.get(index).copied().unwrap_or(open);
                ParameterType { oid: oid::of_sql_type(sql_type), sql_type }
            }
        })
        .collect()
}

impl Connection {
    /// Parse: the statement's errors show here already, not only when it runs.
    pub(super) async fn parse(&mut self, name: String, sql: &str, oids: Vec<u32>) -> Result<(), Failure> {
        if name.is_empty() {
            self.extended.statements.remove("");
        } else if self.extended.statements.contains_key(&name) || self.session.prepared(&name).is_some() {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Error::new(ErrorKind::DuplicatePreparedStatement, message).into());
        } else if self.extended.statements.len() >= PREPARED_STATEMENTS_MAX {
            return Err(Error::new(ErrorKind::ProgramLimit, "preparing a statement: too many are prepared")
                .with_detail(format!("a connection can have {PREPARED_STATEMENTS_MAX}"))
                .with_hint("close statements that are no longer used")
                .into());
        }
        let declared = oids.iter().map(|oid| oid::to_sql_type(*oid)).collect::<Result<Vec<_>>>()?;
        let mut statements = self.session.parse(sql)?.into_iter();
        let statement = statements.next();
        if statements.next().is_some() {
            return Err(Error::new(ErrorKind::Syntax, "cannot insert multiple commands into a prepared statement")
                .with_hint("prepare each command, or send all as a simple query")
                .into());
        }
        let description = match &statement {
            Some(statement) => self.describe_statement(statement, &declared).await?,
            None => Description { parameters: Vec::new(), rows: None },
        };
        if let Some(statement) = statement.as_ref().filter(|_| !name.is_empty()) {
            let (statement, declared, description) = (statement.clone(), declared.clone(), description.clone());
            self.session.keep_prepared(&name, PreparedStatement { statement, declared, description })?;
        }
        let prepared = Prepared {
            statement,
            parameters: parameter_types(&oids, &declared, &description.parameters),
            declared,
            used: description.parameters.len(),
            rows: description.rows,
            described_in: Some(self.extended.cycle),
        };
        self.extended.statements.insert(name, Arc::new(prepared));
        Ok(self.socket.send(&ParseComplete::new())?)
    }

    async fn describe_statement(&mut self, statement: &Statement, types: &[Option<SqlType>]) -> Result<Description, Failure> {
        let described = self.socket.during(self.session.describe(statement, types)).await?;
        described.map_err(|error| Failure::Statement(error).in_statement(statement))
    }

    /// The statement of a name: one that the protocol prepared, or PREPARE.
    fn prepared(&self, name: &str) -> Result<Arc<Prepared>> {
        self.extended.prepared(name).or_else(|error| {
            let known = self.session.prepared(name).filter(|_| !name.is_empty()).ok_or(error)?;
            let PreparedStatement { statement, declared, description } = known.as_ref();
            let oids: Vec<u32> = declared.iter().map(|sql_type| sql_type.map(oid::of_sql_type).unwrap_or_default()).collect();
            Ok(Arc::new(Prepared {
                statement: Some(statement.clone()),
                parameters: parameter_types(&oids, declared, &description.parameters),
                declared: declared.clone(),
                used: description.parameters.len(),
                rows: description.rows.clone(),
                // Definitions may have changed since.
                described_in: None,
            }))
        })
    }

    /// Bind: values are decoded here, so that a wrong one is refused before anything runs.
    pub(super) fn bind(&mut self, bind: Bind) -> Result<(), Failure> {
        let prepared = self.prepared(&bind.statement)?;
        if bind.portal.is_empty() {
            self.extended.portals.remove("");
        } else if self.extended.portals.contains_key(&bind.portal) {
            return Err(Error::new(ErrorKind::DuplicateObject, format!("portal \"{}\" already exists", bind.portal)).into());
        } else if self.extended.portals.len() >= PORTALS_MAX {
            return Err(Error::new(ErrorKind::ProgramLimit, "binding: too many portals are open")
                .with_detail(format!("a connection can have {PORTALS_MAX}"))
                .into());
        }
        if bind.values.len() != prepared.parameters.len() {
            let (supplied, wanted) = (bind.values.len(), prepared.parameters.len());
            let message = format!(
                "bind message supplies {supplied} parameters, but prepared statement \"{}\" requires {wanted}",
                bind.statement
            );
            return Err(Error::new(ErrorKind::ProtocolViolation, message).into());
        }
        let mut values = parameters::decode_all(&prepared.parameters, &bind.formats, &bind.values, self.session.zone().as_ref())?;
        values.truncate(prepared.used);
        let portal = Portal { prepared, formats: bind.result_formats, state: PortalState::Bound(values) };
        self.extended.portals.insert(bind.portal, portal);
        Ok(self.socket.send(&BindComplete::new())?)
    }

    pub(super) async fn describe(&mut self, target: Target, name: &str) -> Result<(), Failure> {
        match target {
            Target::Statement => self.describe_prepared(name).await,
            Target::Portal => self.describe_portal(name).await,
        }
    }

    async fn describe_prepared(&mut self, name: &str) -> Result<(), Failure> {
        let prepared = self.prepared(name)?;
        let types = prepared.parameters.iter().map(|parameter| parameter.oid).collect();
        let rows = self.rows_of(&prepared, &prepared.declared).await?;
        self.socket.send(&ParameterDescription::new(types))?;
        self.send_shape(rows, &[])
    }

    async fn describe_portal(&mut self, name: &str) -> Result<(), Failure> {
        let portal = self.extended.portals.get(name).ok_or_else(|| no_portal(name))?;
        let prepared = Arc::clone(&portal.prepared);
        let formats = portal.formats.clone();
        let rows = match &portal.state {
            PortalState::Rows { cursor, .. } => return Ok(self.socket.send(&cursor.shape().description())?),
            PortalState::Ended(_) => prepared.rows.clone(),
            PortalState::Bound(values) => {
                let types = bound_types(&prepared, values);
                self.rows_of(&prepared, &types).await?
            }
        };
        self.send_shape(rows, &formats)
    }

    /// The schema of a statement's rows with parameters of `types`. What Parse found holds until the next Sync, unless a
    /// bound value has another type than Parse took its parameter for.
    async fn rows_of(&mut self, prepared: &Prepared, types: &[Option<SqlType>]) -> Result<Option<SchemaRef>, Failure> {
        let same = |(given, known): (&Option<SqlType>, &ParameterType)| given.is_none_or(|given| given == known.sql_type);
        match &prepared.statement {
            None => Ok(None),
            Some(_) if prepared.described_in == Some(self.extended.cycle) && types.iter().zip(&prepared.parameters).all(same) => {
                Ok(prepared.rows.clone())
            }
            Some(statement) => Ok(self.describe_statement(statement, types).await?.rows),
        }
    }

    fn send_shape(&mut self, rows: Option<SchemaRef>, formats: &[i16]) -> Result<(), Failure> {
        match rows {
            Some(schema) => self.socket.send(&RowShape::new(&schema, formats, self.session.as_ref())?.description())?,
            None => self.socket.send(&NoData::new())?,
        }
        Ok(())
    }

    /// Execute: a portal that failed is gone.
    pub(super) async fn execute(&mut self, name: &str, row_limit: usize) -> Result<(), Failure> {
        let mut portal = self.extended.portals.remove(name).ok_or_else(|| no_portal(name))?;
        let Some(statement) = portal.prepared.statement.clone() else {
            self.extended.portals.insert(name.to_owned(), portal);
            return Ok(self.socket.send(&EmptyQueryResponse::new())?);
        };
        let was = self.session.transaction_status();
        self.run_portal(name, &mut portal, &statement, row_limit).await.map_err(|failure| failure.in_statement(&statement))?;
        self.extended.portals.insert(name.to_owned(), portal);
        self.extended.statement_ended(was, self.session.transaction_status());
        self.socket.flush_if_full().await
    }

    async fn run_portal(&mut self, name: &str, portal: &mut Portal, statement: &Statement, limit: usize) -> Result<(), Failure> {
        if let PortalState::Bound(values) = &mut portal.state {
            let values = std::mem::take(values);
            match self.socket.during(self.session.execute(statement, values)).await?? {
                Outcome::Done { tag, notices, .. } => {
                    self.extended.deallocate(statement);
                    portal.state = PortalState::Ended(None);
                    return Ok(send_done(&mut self.socket, tag, &notices)?);
                }
                Outcome::Rows { schema, stream, tag } => {
                    check_unchanged(portal.prepared.rows.as_ref(), &schema)?;
                    let shape = RowShape::new(&schema, &portal.formats, self.session.as_ref())?;
                    let cursor = Box::new(RowCursor::new(shape, stream));
                    portal.state = PortalState::Rows { cursor, tag };
                }
            }
        }
        match &mut portal.state {
            PortalState::Rows { cursor, tag } => {
                let (count, suspended) = cursor.send(&mut self.socket, limit).await?;
                if suspended {
                    return Ok(self.socket.send(&PortalSuspended::new())?);
                }
                let tag = *tag;
                portal.state = PortalState::Ended(Some(tag));
                Ok(send_rows_tag(&mut self.socket, tag, count)?)
            }
            PortalState::Ended(Some(tag)) => Ok(send_rows_tag(&mut self.socket, tag, 0)?),
            PortalState::Ended(None) | PortalState::Bound(_) => {
                let message = format!("portal \"{name}\" cannot be run again");
                Err(Error::new(ErrorKind::InvalidCursorName, message).with_hint("bind the statement again").into())
            }
        }
    }

    /// Close: a name that is not there is no error.
    pub(super) fn close(&mut self, target: Target, name: &str) -> Result<(), Failure> {
        match target {
            Target::Portal => {
                self.extended.portals.remove(name);
            }
            Target::Statement => {
                self.session.forget_prepared(name);
                if let Some(closed) = self.extended.statements.remove(name) {
                    self.extended.portals.retain(|_, portal| !Arc::ptr_eq(&portal.prepared, &closed));
                }
            }
        }
        Ok(self.socket.send(&CloseComplete::new())?)
    }
}

/// Clients read rows by the description they once got: rows of another shape would be misread.
fn check_unchanged(described: Option<&SchemaRef>, schema: &SchemaRef) -> Result<()> {
    if described.is_some_and(|described| described.fields().len() == schema.fields().len()) {
        return Ok(());
    }
    let described = described.map_or(0, |described| described.fields().len());
    Err(Error::new(ErrorKind::NotSupported, "a prepared statement must not change the columns of its result")
        .with_detail(format!("{described} columns when it was prepared, {} now", schema.fields().len()))
        .with_hint("prepare the statement again"))
}

/// The types of bound values: a decimal has the precision and scale it was written with.
fn bound_types(prepared: &Prepared, values: &[ScalarValue]) -> Vec<Option<SqlType>> {
    let of_value = |(parameter, value): (&ParameterType, &ScalarValue)| match value {
        ScalarValue::Decimal128(_, precision, scale) => {
            Some(SqlType::Decimal { precision: *precision, scale: scale.unsigned_abs() })
        }
        _ => Some(parameter.sql_type),
    };
    prepared.parameters.iter().zip(values).map(of_value).collect()
}
