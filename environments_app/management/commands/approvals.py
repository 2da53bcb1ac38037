"""Lists pending approvals; rejects one from the host, or approves it if no other account can."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit_app.integrity.row_authentication import verified_rows
from core.listing import add_format, listing
from environments_app.approvals.service import approve_from_host, possible_approvers, reject_from_host
from environments_app.authorization.principals import system_principal
from environments_app.errors import AccessError
from environments_app.models import Approval, ApprovalState
from environments_app.models.approval import in_time


class Command(BaseCommand):
    help = (
        "List pending approval requests, reject one, or approve one that no account can approve. "
        "Approving is logged as break-glass access."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        add_format(acts.add_parser("list", help="List pending requests and their approvers."))
        for name, told in (
            ("approve", "Approve a request that no account can approve."),
            ("reject", "Reject a request."),
        ):
            act = acts.add_parser(name, help=told)
            act.add_argument("id", type=int)
            act.add_argument("--reason", required=True, help="The reason. It is logged.")
            add_format(act)

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["act"] == "list":
            self._list(options["format"])
            return
        approval = Approval.objects.select_related("environment").filter(pk=options["id"]).first()
        if approval is None:
            raise CommandError("Request not found.")
        decide = approve_from_host if options["act"] == "approve" else reject_from_host
        try:
            decide(actor=system_principal(is_admin=True), approval=approval, reason=options["reason"])
        except AccessError as error:
            raise CommandError(str(error)) from error
        if options["format"] == "json":
            approval.refresh_from_db()
            self.stdout.write(json.dumps({"id": approval.pk, "state": approval.state}))
        elif options["act"] == "approve":
            self.stdout.write(f"Request {approval.pk} is approved. {approval.requester_name} can apply it.")
        else:
            self.stdout.write(f"Request {approval.pk} is rejected.")

    def _list(self, form: str) -> None:
        pending = Approval.objects.select_related("environment").filter(
            in_time(), state=ApprovalState.PENDING
        )
        rows = [
            {
                "id": row.pk,
                "environment": row.environment.name,
                "act": row.action,
                "object": row.object_name,
                "requester": row.requester_name,
                "approvers": possible_approvers(row),
                "requested_at": row.asked_at,
            }
            for row in verified_rows(pending.order_by("id"))
        ]
        self.stdout.write(listing(rows, form, nothing="No pending requests."))
