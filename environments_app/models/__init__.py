"""The models of environments_app."""

from environments_app.models.access import (
    AccessConfirmation,
    Membership,
    Role,
    ServiceToken,
    Source,
    TokenRole,
)
from environments_app.models.access_request import AccessRequest, RequestState
from environments_app.models.approval import Approval, ApprovalEntry, ApprovalState, EntryKind
from environments_app.models.authentication import (
    FailedSignIns,
    KnownNetwork,
    LinkPurpose,
    Passkey,
    PasswordLink,
    SecondFactor,
    Session,
)
from environments_app.models.departure import Departure, DepartureKind
from environments_app.models.environment import Environment
from environments_app.models.event_sink import EventSink
from environments_app.models.notification import Addressee, Alert, Delivery, DeliveryState, Recipient
from environments_app.models.operator_job import AuditJob, AuditJobKind, JobState, OperatorJob
from environments_app.models.personal_token import DeviceSignIn, PersonalToken
from environments_app.models.program_release import ProgramKind, ProgramRelease
from environments_app.models.provisioning import (
    OIDC_ISSUER,
    SAML_ISSUER,
    ProvisionedGroup,
    ProvisionedUser,
    ScimClient,
    ScimPreset,
)
from environments_app.models.review import AccessKind, Decision, Review, ReviewItem, ReviewState
from environments_app.models.saml import (
    INSTALLATION_ROLES,
    ClientAuth,
    OidcAlgorithm,
    OidcClientKey,
    OidcProvider,
    SamlAssertion,
    SamlGroupMapping,
    SamlProvider,
    SamlRole,
)
from environments_app.models.trust import Trust, TrustAlgorithm, TrustPreset, TrustRole, UsedJwt
from environments_app.models.user import (
    ConnectedSignIn,
    GroupMember,
    NoticeKind,
    PersonalSettings,
    User,
    UserRole,
)
