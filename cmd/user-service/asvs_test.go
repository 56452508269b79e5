package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What OWASP's Application Security Verification Standard 5.0 asks for at its levels 1 and 2
// (https://github.com/OWASP/ASVS/tree/v5.0.0/5.0/en) in the chapters on validation, the API,
// authentication, sessions, authorization, self-contained tokens, secure communication, and errors and
// logging: which tests show that it is so, or in capitals why there is none.
const asvs = `
1.2.4  queries                     TestTenThousandRandomRequestsGetTheEnvelopeAndNoFaultOfOurs TestStaffListsAndFindsUsers
1.3.6  requests by our server      NONE: every address it asks is a setting
1.3.7  templates                   TestTemplatesOfAFolderReplaceTheBuiltInOnesAndKnowLanguages TestNumbersStayAsTheyWereWritten
1.3.11 mail injection              TestNothingCanBeSmuggledIntoAHeader TestNameIsTextInHTML
1.4.2  integers                    TestNumbersStayAsTheyWereWritten TestTenThousandRandomRequestsGetTheEnvelopeAndNoFaultOfOurs
1.5.2  deserialisation             TestEveryBodyIsFuzzed TestNullCharacterIsRefusedAtAnyDepth TestAnyMessageIsTakenAndCopiedWhole

2.1.1  rules are documented        TestEveryOperationAnswersAsItsDocumentSays
2.1.2  combined rules              TestEachBrokenPasswordRuleHasItsMessage
2.1.3  limits are documented       TestDefaultsAreThoseOfTheContract
2.2.1  input is validated          TestBadInputIsNamedFieldByField TestEveryWrongFieldIsNamedAtOnce TestListSaysWhatItDoesNotTake
2.2.2  by the server               TestEveryOperationAnswersAsItsDocumentSays
2.2.3  combinations                TestEachBrokenPasswordRuleHasItsMessage TestLikenessIsThatOfPythonsDifflib
2.3.1  order of steps              TestResetSetsThePasswordOnceAndEndsEverySession TestEmailIsVerifiedByTheMailedTokenOnce
2.3.2  business limits             TestHundredAndFirstSessionEndsTheOneUsedLeastLately TestMailsToOneAddressAreFewWhoeverAsks
2.3.3  transactions                TestRefusalByAnyModuleLeavesNothing TestKillNeitherLosesNorRepeatsTheEffect
2.3.4  locks                       TestFiveHundredRegistrationsOfOneAddressMakeOneAccount TestDeviceTokenThatManyTakeAtOnceIsWithOne
2.4.1  automation                  TestWhoSendsSlowlyIsCutOff TestEachOpenRouteSlowsAnAddress TestUserIsSlowedFarAboveWhatPeopleDoAndASiblingNever

3.4.1  HSTS                        TestRepliesTellBrowsersToTrustNothing
3.4.2  CORS                        TestRepliesAreReadByAllowedPagesOnly TestPreflightOfAnAllowedPageNeedsNoToken
3.4.3  CSP                         TestRepliesTellBrowsersToTrustNothing TestPagesLoadOnlyWhatIsServedHere
3.4.4  no sniffing                 TestRepliesTellBrowsersToTrustNothing
3.4.5  referrer                    TestRepliesTellBrowsersToTrustNothing
3.5.3  methods                     TestOtherMethodGets405WithAllow

4.1.1  content type                TestEveryOperationAnswersAsItsDocumentSays
4.1.2  no redirects                TestBothSlashFormsAndBothPathsWorkWithoutARedirect
4.1.3  headers of proxies          TestForwardedForIsBelievedAsFarAsTrustedProxiesWroteIt TestNobodyEscapesALimitByAForgedForwardedFor
4.2.1  request smuggling           TestNoRequestIsHiddenInAnother TestWhatIsNoRequestIsAnsweredInTheEnvelopeToo

6.1.1  limits are documented       TestGuessingIsSlowFromAnyAddressAndTheOwnerGetsIn TestStrangerAtOneAddressKeepsNobodyOut
6.1.2  words of this service       TestEachBrokenPasswordRuleHasItsMessage
6.1.3  pathways are documented     TestOriginalServicesTokensAreAcceptedForADay
6.2.1  eight characters            TestEachBrokenPasswordRuleHasItsMessage
6.2.2  password change             TestChangedPasswordEndsEverySessionAndOpensANewOne
6.2.3  current password            TestChangedPasswordEndsEverySessionAndOpensANewOne TestStolenTokenIsNoWayToGuessThePassword
6.2.4  common passwords            TestListOfCommonPasswordsIsSortedAndEveryLineIsFound
6.2.5  any composition             TestEachBrokenPasswordRuleHasItsMessage
6.2.6  input fields                NONE: the clients' own
6.2.7  paste                       NONE: the clients' own
6.2.8  as received                 TestEachBrokenPasswordRuleHasItsMessage
6.2.9  64 characters               TestEachBrokenPasswordRuleHasItsMessage
6.2.10 no rotation                 NONE: passwords have no age
6.2.11 words of this service       TestEachBrokenPasswordRuleHasItsMessage
6.2.12 breached passwords          TestListOfCommonPasswordsIsSortedAndEveryLineIsFound
6.3.1  stuffing and guessing       TestGuessingIsSlowFromAnyAddressAndTheOwnerGetsIn TestManyGuessesAtOnceAreNoMoreThanOneAfterTheOther
6.3.2  default accounts            TestSuperuserIsAskedForWhatIsMissingAndThePasswordIsNotShown
6.3.3  second factor               NONE: the contract has none
6.3.4  no other pathway            TestEachRouteLetsInWhomItsRuleNames
6.4.1  initial secrets             TestServiceKeyIsStoredAsAHashAndItsUseIsNoted
6.4.2  no hints                    NONE: there is no such field
6.4.3  reset                       TestResetSetsThePasswordOnceAndEndsEverySession TestNobodyLearnsOfAnAccountByAskingForAMail
6.5.1  once                        TestEmailIsVerifiedByTheMailedTokenOnce TestResetSetsThePasswordOnceAndEndsEverySession
6.5.2  stored as hashes            TestDatabaseHoldsNoTokenAndNoPassword
6.5.3  random                      TestTokenIsOfNoUseForAnotherPurposeOrAfterItsTime
6.5.4  entropy                     TestMailArrivesInTheContractsForm
6.5.5  lifetime                    TestTokenIsOfNoUseForAnotherPurposeOrAfterItsTime
6.6.2  bound to their request      TestNewTokenVoidsTheOlderAndMailsAreFewAndFarBetween
6.6.3  guessing codes              TestEachOpenRouteSlowsAnAddress
6.8.2  signatures                  TestForgedTokensAreRefused TestForgedTokensOpenNothing

7.1.1  lifetimes are documented    TestSessionGetsNoOlderThanNinetyDays
7.1.2  number of sessions          TestHundredAndFirstSessionEndsTheOneUsedLeastLately
7.2.1  verified by the server      TestBearerIsAskedForAndJudged
7.2.2  dynamic tokens              TestRefreshTokenRotatesAndConcurrentRefreshesAgree
7.2.3  128 bits                    TestDatabaseHoldsNoTokenAndNoPassword
7.2.4  new at each sign-in         TestSessionsAreListedAndEnded
7.3.1  inactivity                  TestExpiredAndRevokedRefreshTokensAreRefused
7.3.2  absolute lifetime           TestSessionGetsNoOlderThanNinetyDays TestTokenOutlivesNoLifetimeThatWasMadeShorter
7.4.1  logout                      TestSessionsAreListedAndEnded TestRequestThatEndedItsSessionIsRepeated
7.4.2  disabled account            TestDeletedAccountIsRefusedAtOnceAndByOthersWithinASecond TestStaffDeactivatesAndReactivates
7.4.3  after a new password        TestChangedPasswordEndsEverySessionAndOpensANewOne TestResetSetsThePasswordOnceAndEndsEverySession
7.4.5  by administrators           TestStaffDeactivatesAndReactivates
7.5.1  sign-in before a change     TestChangedPasswordEndsEverySessionAndOpensANewOne
7.5.2  list and end                TestSessionsAreListedAndEnded TestNobodyEndsTheSessionOfAnother
7.6.2  explicit creation           TestEachRouteLetsInWhomItsRuleNames

8.1.1  rules are documented        TestEachRouteLetsInWhomItsRuleNames
8.1.2  fields                      TestFieldsThatAreNotAUsersToSetAreIgnored
8.2.1  functions                   TestEachRouteLetsInWhomItsRuleNames TestRolesAreEnforced
8.2.2  data of others              TestUserReachesNothingOfStaffOrSiblings TestNobodyEndsTheSessionOfAnother
8.2.3  fields                      TestFieldsThatAreNotAUsersToSetAreIgnored
8.3.1  by the server               TestRolesAreEnforced
8.3.2  at once                     TestDeletedAccountIsRefusedAtOnceAndByOthersWithinASecond TestRevocationHeedsNoClockAndNoStart

9.1.1  signature                   TestForgedTokensAreRefused
9.1.2  algorithms                  TestForgedTokensAreRefused TestNoKeyServesAnotherAlgorithm
9.1.3  sources of keys             TestForgedTokensAreRefused
9.2.1  validity                    TestTimesHaveALeewayForClocks
9.2.2  kind of token               TestForgedTokensAreRefused
9.2.3  audience                    NONE: the contract has no aud; iss is checked, and a secret is one system's
9.2.4  audience                    NONE: as above

12.1.1 versions of TLS             NONE: a proxy's in front; as a client TestMailIsEncryptedAndSignedInAsTheURLSays
12.2.1 TLS for clients             NONE: a proxy's in front; TestRepliesTellBrowsersToTrustNothing
12.3.1 TLS to servers              TestMailIsEncryptedAndSignedInAsTheURLSays TestURLSaysHowToReachTheServer
12.3.2 certificates                TestServerThatCannotBeTrustedGetsNoMail

14.2.1 nothing secret in URLs      TestEveryOperationAnswersAsItsDocumentSays
14.2.2 caches                      TestKeptRepliesShowNothingToWhoReadsTheDatabase
14.3.2 no-store                    TestRepliesTellBrowsersToTrustNothing

16.2.1 who, when, what             TestLineHasTheKeysThatAreSearchedFor TestEveryRequestAndMessageHasOneLine
16.2.2 UTC                         TestLineHasTheKeysThatAreSearchedFor
16.2.4 one format                  TestLineHasTheKeysThatAreSearchedFor
16.2.5 no secrets                  TestNoLineOfTheLogTellsASecret TestAddressesAndTokensAreBlottedOutWhereverTheyStand
16.3.1 sign-ins                    TestWhatHappensToAnAccountIsOnRecord TestFailuresOfUnknownAddressesAreOnRecordToo
16.3.2 refused access              TestEveryRequestAndMessageHasOneLine
16.3.3 security events             TestWhatHappensToAnAccountIsOnRecord
16.3.4 unexpected errors           TestPanicThatQuotesAnAddressIsLoggedWithoutIt
16.4.1 log injection               TestReadableLineIsOneLineWhateverIsInIt TestTenThousandRandomRequestsGetTheEnvelopeAndNoFaultOfOurs
16.5.1 nothing told                TestFaultsOfOursTellNothing TestAnyOtherErrorIsOursAndItsTextStaysInside
16.5.2 others fail                 TestWithoutTheBrokerRESTGoesOnAndEveryEventArrivesAfterwards TestOutageOfTheProviderUnderLoad
16.5.3 fails closed                TestWithoutTheDatabaseTheAnswerIs503AndNothingIsLost TestRefusalByAnyModuleLeavesNothing
`

func TestEachSecurityRequirementHasATestThatIsThere(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	require.NoError(t, filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		content, err := os.ReadFile(path)
		for _, found := range declared.FindAllSubmatch(content, -1) {
			tests[string(found[1])] = true
		}
		return err
	}))
	requirement := regexp.MustCompile(`^(\d+\.\d+\.\d+) +\S.*? {2,}(\S.*)$`)
	rows := 0
	for line := range strings.Lines(strings.TrimSpace(asvs)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		row := requirement.FindStringSubmatch(line)
		require.NotNil(t, row, "%q", line)
		rows++
		named := regexp.MustCompile(`Test\w+`).FindAllString(row[2], -1)
		require.True(t, len(named) > 0 || strings.HasPrefix(row[2], "NONE: "), "%s has neither a test nor a reason", row[1])
		for _, name := range named {
			require.True(t, tests[name], "%s names %s, which is not there", row[1], name)
		}
	}
	require.Greater(t, rows, 80)
}
