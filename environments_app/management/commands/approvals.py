"""Lists pending approvals, and approves from the host if no other account can."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit_app.integrity.row_authentication import verified_rows
from environments_app.approvals.service import approve_from_host, possible_approvers
from environments_app.authorization.principals import system_principal
from environments_app.errors import AccessError
from environments_app.models import Approval, ApprovalState
from environments_app.models.approval import in_time


class Command(BaseCommand):
    help = (
        "List pending approval requests, or approve one that no account can approve. "
        "Approving is logged as break-glass access."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        acts.add_parser("list", help="List pending requests and their approvers.")
        approve = acts.add_parser("approve", help="Approve a request that no account can approve.")
        approve.add_argument("id", type=int)
        approve.add_argument("--reason", required=True, help="The reason. It is logged.")

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["act"] == "list":
            self._list()
            return
        approval = Approval.objects.select_related("environment").filter(pk=options["id"]).first()
        if approval is None:
            raise CommandError("Request not found.")
        try:
            approve_from_host(
                actor=system_principal(is_admin=True), approval=approval, reason=options["reason"]
            )
        except AccessError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Request {approval.pk} is approved. {approval.requester_name} can apply it.")

    def _list(self) -> None:
        approvals = Approval.objects.select_related("environment").filter(
            in_time(), state=ApprovalState.PENDING
        )
        rows = verified_rows(approvals.order_by("id"))
        if not rows:
            self.stdout.write("No pending requests.")
        for row in rows:
            approvers = ", ".join(possible_approvers(row)) or "none"
            self.stdout.write(
                f"{row.pk}  {row.environment.name}  {row.action}  {row.object_name}  "
                f"by {row.requester_name}; approvers: {approvers}"
            )
