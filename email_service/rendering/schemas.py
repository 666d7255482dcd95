"""The shapes of templates on the wire."""

from marshmallow import Schema, fields, validate


class TemplateOut(Schema):
    """What exists under one name."""

    name = fields.String()
    description = fields.String()
    category = fields.String()
    lane = fields.String()
    unsubscribe = fields.Boolean(
        attribute="can_unsubscribe", metadata={"description": "Whether readers can unsubscribe from the category."}
    )
    version = fields.String(metadata={"description": "A hash of everything that the mail is made from."})
    locales = fields.List(fields.String())
    variables_schema = fields.Dict(metadata={"description": "JSON Schema 2020-12."})
    sample_variables = fields.Dict()


class TemplateListOut(Schema):
    """All templates, by name; there are never so many that they need a second page."""

    data = fields.List(fields.Nested(TemplateOut))
    next_cursor = fields.String(allow_none=True)


class RenderIn(Schema):
    """What to render a template with."""

    variables = fields.Dict(keys=fields.String(), load_default=dict)
    locale = fields.String(load_default=None, allow_none=True, validate=validate.Length(max=35))


class RenderedOut(Schema):
    """A rendered template; nothing was sent."""

    subject = fields.String()
    html = fields.String()
    text = fields.String()
    version = fields.String()
