package s3

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
)

// acl is an access control list as it was set. Nothing is granted or refused by it: who may use the stack may use all
// of it. The zero value is that of a new object, full control for the owner alone.
type acl struct {
	Set    bool    `json:",omitempty"`
	Grants []grant `json:",omitempty"`
}

type grant struct {
	Type       string // CanonicalUser or Group
	Grantee    string // the id of the user, or the URI of the group
	Permission string
}

// The values of ObjectOwnership. With the first, which new buckets have, there are no lists but the default one.
const (
	enforced  = "BucketOwnerEnforced"
	preferred = "BucketOwnerPreferred"
	byWriter  = "ObjectWriter"
)

// accessBlock is a bucket's public access block. Only that on setting lists has something to block here.
type accessBlock struct {
	BlockPublicAcls, IgnorePublicAcls, BlockPublicPolicy, RestrictPublicBuckets bool
}

func newAccessBlock() *accessBlock { return &accessBlock{true, true, true, true} }

const (
	allUsers  = "http://acs.amazonaws.com/groups/global/AllUsers"
	allAuthed = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
	logs      = "http://acs.amazonaws.com/groups/s3/LogDelivery"
)

var groups = []string{allUsers, allAuthed, logs}

// grantHeaders are the headers that grant a permission each.
var grantHeaders = []struct{ header, permission string }{
	{"X-Amz-Grant-Full-Control", "FULL_CONTROL"}, {"X-Amz-Grant-Read", "READ"}, {"X-Amz-Grant-Write", "WRITE"},
	{"X-Amz-Grant-Read-Acp", "READ_ACP"}, {"X-Amz-Grant-Write-Acp", "WRITE_ACP"},
}

// canned returns the grants of a canned list, nil if there is none of the name.
func canned(name, owner string) []grant {
	full := grant{"CanonicalUser", owner, "FULL_CONTROL"}
	group := func(uri string, permissions ...string) []grant {
		list := []grant{full}
		for _, p := range permissions {
			list = append(list, grant{"Group", uri, p})
		}
		return list
	}
	switch name {
	case "private", "bucket-owner-full-control", "bucket-owner-read", "aws-exec-read": // the owner of all is one
		return []grant{full}
	case "public-read":
		return group(allUsers, "READ")
	case "public-read-write":
		return group(allUsers, "READ", "WRITE")
	case "authenticated-read":
		return group(allAuthed, "READ")
	case "log-delivery-write":
		return group(logs, "WRITE", "READ_ACP")
	}
	return nil
}

// parseACL reads the headers that set a list. given is false if there are none.
func parseACL(header http.Header, account string) (list acl, given bool, err error) {
	name := header.Get("X-Amz-Acl")
	owner := canonicalID(account)
	if _, ok := header["X-Amz-Acl"]; ok {
		grants := canned(name, owner)
		if grants == nil {
			return acl{}, true, refuse(http.StatusBadRequest, "InvalidArgument", "", "ArgumentName", "x-amz-acl", "ArgumentValue", name)
		}
		list, given = acl{true, grants}, true
	}
	for _, g := range grantHeaders {
		text := header.Get(g.header)
		if text == "" {
			continue
		}
		if name != "" {
			return acl{}, true, invalidRequest("Specifying both Canned ACLs and Header Grants is not allowed")
		}
		for part := range strings.SplitSeq(text, ",") {
			k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
			v = strings.Trim(strings.TrimSpace(v), `"`)
			gr := grant{Permission: g.permission, Grantee: v}
			switch strings.ToLower(k) {
			case "id":
				gr.Type = "CanonicalUser"
				if !isCanonicalID(v) {
					return acl{}, true, invalidArgument("id", v, "Invalid id")
				}
			case "uri":
				gr.Type = "Group"
				if !slices.Contains(groups, v) {
					return acl{}, true, invalidArgument("uri", v, "Invalid group uri")
				}
			case "emailaddress":
				return acl{}, true, refuse(http.StatusBadRequest, "UnresolvableGrantByEmailAddress",
					"The e-mail address you provided does not match any account on record.")
			default:
				return acl{}, true, invalidArgument(strings.ToLower(g.header), text, "Argument format not recognized")
			}
			list.Grants = append(list.Grants, gr)
		}
		list.Set, given = true, true
	}
	return list, given, nil
}

func isCanonicalID(s string) bool { return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" }

func (a acl) grants(account string) []grant {
	if !a.Set {
		return canned("private", canonicalID(account))
	}
	return a.Grants
}

func (a acl) public() bool {
	return slices.ContainsFunc(a.Grants, func(g grant) bool { return g.Grantee == allUsers || g.Grantee == allAuthed })
}

// aclHeaders reads the list that an upload's headers set.
func (c *call) aclHeaders(b *bucket, header http.Header) (acl, error) {
	if !hasACL(header) {
		return acl{}, nil
	}
	list, given, err := parseACL(header, b.account)
	if err != nil || !given {
		return acl{}, err
	}
	b.mu.RLock()
	set := b.settings
	b.mu.RUnlock()
	return list, set.admits(list, header.Get("X-Amz-Acl"))
}

func hasACL(header http.Header) bool {
	if header["X-Amz-Acl"] != nil {
		return true
	}
	for _, g := range grantHeaders {
		if header[g.header] != nil {
			return true
		}
	}
	return false
}

// admits refuses a list that a bucket's settings do not let be set.
func (set *settings) admits(list acl, canned string) error {
	if set.Ownership == enforced && canned != "bucket-owner-full-control" {
		return refuse(http.StatusBadRequest, "AccessControlListNotSupported", "The bucket does not allow ACLs")
	}
	if set.Block != nil && set.Block.BlockPublicAcls && list.public() {
		return accessDenied()
	}
	return nil
}

// initialAccess reads what the creation of a bucket says of access.
func (c *call) initialAccess(set *settings) error {
	if o := c.h.Header["X-Amz-Object-Ownership"]; o != nil {
		if !slices.Contains([]string{enforced, preferred, byWriter}, o[0]) {
			return refuse(http.StatusBadRequest, "InvalidArgument", "Invalid x-amz-object-ownership header: "+o[0],
				"ArgumentName", "x-amz-object-ownership")
		}
		set.Ownership = o[0]
	}
	list, given, err := parseACL(c.h.Header, c.r.Account)
	if err != nil || !given {
		return err
	}
	private := acl{true, canned("private", canonicalID(c.r.Account))}
	if set.Ownership == enforced && !reflect.DeepEqual(list, private) {
		return refuse(http.StatusBadRequest, "InvalidBucketAclWithObjectOwnership",
			"Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")
	}
	if list.public() { // new buckets block it
		return refuse(http.StatusBadRequest, "InvalidBucketAclWithBlockPublicAccessError",
			"Bucket cannot have public ACLs set with BlockPublicAccess enabled")
	}
	set.ACL = list
	return nil
}

// readACL reads the list of a request to set one, in headers or in a document.
func (c *call) readACL(account string) (acl, error) {
	text, err := c.read()
	if err != nil {
		return acl{}, err
	}
	list, given, err := parseACL(c.h.Header, account)
	switch {
	case err != nil:
		return acl{}, err
	case given && len(text) > 0:
		return acl{}, refuse(http.StatusBadRequest, "UnexpectedContent", "This request does not support content")
	case given:
		return list, nil
	case len(text) == 0:
		return acl{}, refuse(http.StatusBadRequest, "MissingSecurityHeader", "Your request was missing a required header",
			"MissingHeaderName", "x-amz-acl")
	}
	return parsePolicy(text, account)
}

func malformedACL() error {
	f := malformedXML()
	f.code = "MalformedACLError"
	return f
}

var permissions = []string{"FULL_CONTROL", "READ", "WRITE", "READ_ACP", "WRITE_ACP"}

// parsePolicy reads an AccessControlPolicy.
func parsePolicy(text []byte, account string) (acl, error) {
	doc, err := parseXML(text)
	if err != nil || doc.name != "AccessControlPolicy" {
		return acl{}, malformedACL()
	}
	list := acl{Set: true}
	owner, grants := "", false
	problem := error(nil) // of a value, which is told rather than that the document is malformed
	err = doc.each(map[string]func(*node) error{
		"Owner": func(n *node) error {
			name := ""
			return n.each(map[string]func(*node) error{"ID": once(&owner), "DisplayName": into(&name)})
		},
		"AccessControlList": func(n *node) error {
			grants = true
			return n.each(map[string]func(*node) error{"Grant": func(n *node) error {
				var g grant
				err := n.each(map[string]func(*node) error{
					"Permission": once(&g.Permission),
					"Grantee": func(n *node) error {
						var id, uri, name string
						for _, a := range n.attr {
							if a.Name.Local == "type" {
								g.Type = a.Value
							}
						}
						err := n.each(map[string]func(*node) error{"ID": once(&id), "URI": once(&uri), "DisplayName": into(&name)})
						switch {
						case g.Type == "CanonicalUser":
							if g.Grantee = id; !isCanonicalID(id) {
								problem = invalidArgument("CanonicalUser/ID", id, "Invalid id")
							}
						case g.Type == "Group":
							if g.Grantee = uri; !slices.Contains(groups, uri) {
								problem = invalidArgument("Group/URI", uri, "Invalid group uri")
							}
						case err == nil:
							err = malformedACL()
						}
						return err
					},
				})
				list.Grants = append(list.Grants, g)
				if err == nil && (!slices.Contains(permissions, g.Permission) || g.Type == "") {
					err = malformedACL()
				}
				return err
			}})
		},
	})
	switch {
	case err != nil || owner == "" || !grants:
		return acl{}, malformedACL()
	case problem != nil:
		return acl{}, problem
	case owner != canonicalID(account):
		if !isCanonicalID(owner) {
			return acl{}, invalidArgument("CanonicalUser/ID", owner, "Invalid id")
		}
		return acl{}, accessDenied()
	}
	return list, nil
}

func (c *call) showACL(list acl, account string) {
	d := newDocument()
	d.root("AccessControlPolicy")
	d.open("Owner")
	d.text("ID", canonicalID(account))
	d.close("Owner")
	d.open("AccessControlList")
	for _, g := range list.grants(account) {
		d.open("Grant")
		d.WriteString(`<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="` + g.Type + `">`)
		if g.Type == "Group" {
			d.text("URI", g.Grantee)
		} else {
			d.text("ID", g.Grantee)
		}
		d.close("Grantee")
		d.text("Permission", g.Permission)
		d.close("Grant")
	}
	d.close("AccessControlList")
	d.close("AccessControlPolicy")
	c.document(http.StatusOK, d)
}

func (s *Service) getBucketACL(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	b.mu.RLock()
	list := b.settings.ACL
	b.mu.RUnlock()
	c.showACL(list, b.account)
	return nil
}

func (s *Service) putBucketACL(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	list, err := c.readACL(b.account)
	if err != nil {
		return err
	}
	return c.configure(b, func(set *settings) error {
		set.ACL = list
		return set.admits(list, c.h.Header.Get("X-Amz-Acl"))
	})
}

func (s *Service) getObjectACL(c *call) error {
	b, v, err := c.find(false)
	if err != nil {
		return err
	}
	c.stateID(v)
	c.showACL(v.ACL, b.account)
	return nil
}

func (s *Service) putObjectACL(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	c.markers = true
	b.mu.RLock()
	_, err = c.pick(b, c.key)
	set := b.settings
	b.mu.RUnlock()
	if err != nil {
		return err
	}
	list, err := c.readACL(b.account)
	if err != nil {
		return err
	}
	if err := set.admits(list, c.h.Header.Get("X-Amz-Acl")); err != nil {
		return err
	}
	return c.alter(b, "ObjectAcl:Put", func(v *version) bool {
		if slices.Equal(v.ACL.grants(b.account), list.grants(b.account)) {
			return false // S3 tells of changes only
		}
		v.ACL = list
		return true
	})
}

func (s *Service) getOwnership(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	b.mu.RLock()
	value := b.settings.Ownership
	b.mu.RUnlock()
	if value == "" {
		return refuse(http.StatusNotFound, "OwnershipControlsNotFoundError", "The bucket ownership controls were not found",
			"BucketName", c.bucket)
	}
	d := newDocument()
	d.root("OwnershipControls")
	d.open("Rule")
	d.text("ObjectOwnership", value)
	d.close("Rule")
	d.close("OwnershipControls")
	c.document(http.StatusOK, d)
	return nil
}

func (s *Service) putOwnership(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	doc, err := c.readXML("OwnershipControls")
	if err != nil {
		return err
	}
	value := ""
	err = doc.each(map[string]func(*node) error{"Rule": func(n *node) error {
		if value != "" {
			return malformedXML()
		}
		return n.each(map[string]func(*node) error{"ObjectOwnership": once(&value)})
	}})
	if err == nil && !slices.Contains([]string{enforced, preferred, byWriter}, value) {
		err = malformedXML()
	}
	if err != nil {
		return err
	}
	return c.configure(b, func(set *settings) error {
		if value == enforced && !slices.Equal(set.ACL.grants(b.account), acl{}.grants(b.account)) {
			return refuse(http.StatusBadRequest, "InvalidBucketAclWithObjectOwnership",
				"Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")
		}
		set.Ownership = value
		return nil
	})
}

func (s *Service) deleteOwnership(c *call) error {
	return c.unset(func(set *settings) { set.Ownership = "" })
}

// unset is configure for an operation that removes a setting.
func (c *call) unset(change func(*settings)) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	err = c.configure(b, func(set *settings) error {
		change(set)
		return nil
	})
	if err == nil {
		c.w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// fields are the elements of an access block.
func (a *accessBlock) fields() []struct {
	name  string
	value *bool
} {
	return []struct {
		name  string
		value *bool
	}{
		{"BlockPublicAcls", &a.BlockPublicAcls}, {"IgnorePublicAcls", &a.IgnorePublicAcls},
		{"BlockPublicPolicy", &a.BlockPublicPolicy}, {"RestrictPublicBuckets", &a.RestrictPublicBuckets},
	}
}

func (s *Service) getPublicAccessBlock(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	b.mu.RLock()
	block := b.settings.Block
	b.mu.RUnlock()
	if block == nil {
		return refuse(http.StatusNotFound, "NoSuchPublicAccessBlockConfiguration",
			"The public access block configuration was not found", "BucketName", c.bucket)
	}
	d := newDocument()
	d.root("PublicAccessBlockConfiguration")
	for _, f := range block.fields() {
		d.boolean(f.name, *f.value)
	}
	d.close("PublicAccessBlockConfiguration")
	c.document(http.StatusOK, d)
	return nil
}

func (s *Service) putPublicAccessBlock(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	doc, err := c.readXML("PublicAccessBlockConfiguration")
	if err != nil {
		return err
	}
	block := &accessBlock{}
	by := map[string]func(*node) error{}
	for _, f := range block.fields() {
		by[f.name] = func(n *node) error {
			var text string
			if err := n.word(&text); err != nil {
				return err
			}
			*f.value = strings.EqualFold(text, "true")
			if !*f.value && !strings.EqualFold(text, "false") {
				return malformedXML()
			}
			return nil
		}
	}
	if err := doc.each(by); err != nil {
		return err
	}
	return c.configure(b, func(set *settings) error {
		set.Block = block
		return nil
	})
}

func (s *Service) deletePublicAccessBlock(c *call) error {
	return c.unset(func(set *settings) { set.Block = nil })
}
